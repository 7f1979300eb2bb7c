"""Trains the network that tells the garment of a photograph from its ground: `app/imaging/segmenter.onnx`."""
