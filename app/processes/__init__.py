"""Starts the workers, replaces those that end or hang, and stops the service without losing a request."""
