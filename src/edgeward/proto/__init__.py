"""Messages that programs on other sides of a socket exchange, by their numbers."""
