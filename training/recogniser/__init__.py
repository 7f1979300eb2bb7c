"""Trains the network that recognises garments in colour: all of EfficientNet-Lite0, on photographs."""
