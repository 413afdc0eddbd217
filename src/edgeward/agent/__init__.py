"""The agent: a process that serves the device's models to its other programs."""
