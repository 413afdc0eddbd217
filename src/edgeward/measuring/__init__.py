"""How fast a model runs, and its peers."""
