"""Tensors from files."""
