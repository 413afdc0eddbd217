"""Engines: found, probed, chosen."""
