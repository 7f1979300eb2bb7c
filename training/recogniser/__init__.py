"""Trains the network that recognises garments in colour: ImageNet features, and a last layer fitted to photographs."""
