"""Measurements of the service, each with a command of its own."""
