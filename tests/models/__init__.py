"""Models made by the tests themselves: the same bytes on every run, nothing downloaded."""
