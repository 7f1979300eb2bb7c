"""Compares the service's speed with others that serve the same artifact: one run, the same cores and pictures."""
