"""Slow readers, each written from its document alone."""
