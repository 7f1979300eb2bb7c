"""Turns the bytes of a picture into the 28x28 image that the model takes."""
