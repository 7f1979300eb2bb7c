"""Trains the network that separates a photograph's garment from its background: `app/imaging/segmenter.onnx`."""
