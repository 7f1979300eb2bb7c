"""The offline job that trains a network and exports it as an artifact; never part of the serving image."""
