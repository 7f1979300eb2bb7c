"""The service: bytes of a picture in, ten class probabilities out."""

__version__ = "0.1.0"
