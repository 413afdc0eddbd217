"""Packages: sealed, opened, checked."""
