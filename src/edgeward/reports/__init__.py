"""Models and packages described."""
