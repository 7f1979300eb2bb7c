"""Makes the network that recognises garments in colour: ImageNet's features, and a last layer from photographs."""
