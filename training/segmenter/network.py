"""The network that separates garment from background."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers

from app.imaging.segmentation import SIDE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WIDTHS = (16, 32, 64, 96)
"""Numbers of channels at a half, a quarter, an eighth and a sixteenth of the side."""


def build() -> keras.Model:
    """Build the network with fresh weights, under Keras' current precision policy.

    Returns:
        A model from uint8 `[batch, 96, 96, 3]` to float32 logits `[batch, 48, 48, 4]`; see `quarters`.

    Source:
        Ronneberger et al., "U-Net" (arXiv 1505.04597), with sums in place of concatenations, and with channels for the
        last doubling of the side (Shi et al., arXiv 1609.05158).
    """
    pixels = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="pixels")
    features = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    steps = []
    for depth, width in enumerate(WIDTHS):
        features = _convolved(features, width, strides=2)
        for _ in range(depth):
            features = _convolved(features, width)
        steps.append(features)
    for width, step in zip(WIDTHS[-2::-1], steps[-2::-1], strict=True):
        larger = layers.UpSampling2D()(layers.Conv2D(width, 1)(features))
        features = _convolved(layers.Add()([larger, step]), width)
    logits = layers.Conv2D(4, 3, padding="same", dtype="float32", name="logits")(features)
    return keras.Model(pixels, logits, name="segmenter")


def _convolved(features: keras.KerasTensor, width: int, strides: int = 1) -> keras.KerasTensor:
    convolution = layers.Conv2D(
        width, 3, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal"
    )
    return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(convolution(features)))


def quarters(garment: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fold each block of two by two pixels into four channels: `[n, 96, 96]` becomes `[n, 48, 48, 4]`."""
    count, height, width = garment.shape
    folded = garment.reshape(count, height // 2, 2, width // 2, 2).transpose(0, 1, 3, 2, 4)
    return folded.reshape(count, height // 2, width // 2, 4)
