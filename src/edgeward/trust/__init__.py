"""Trust: what this device believes, and keys."""
