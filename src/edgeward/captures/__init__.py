"""Captures: kept, counted, read back, exported."""
