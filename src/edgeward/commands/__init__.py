"""The commands of `edgeward`."""
