"""The networks: plain Keras graphs from uint8 images to logits."""

from __future__ import annotations

import math
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import keras
from keras import layers

from app.model_card import IMAGE_SHAPE
from training.data import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from training.config import Network, Precision, TrainingConfig


@contextmanager
def precision(policy: Precision) -> Iterator[None]:
    """Have networks that are built inside compute in the given precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build(config: TrainingConfig) -> keras.Model:
    """Build the config's network with fresh weights, under Keras' current precision policy.

    Args:
        config: Names the network.

    Returns:
        A model from uint8 `[batch, 28, 28]`, 0 to 255, to float32 logits `[batch, 10]`. Its first layer divides by 255,
        so callers do not scale anything.
    """
    images = keras.Input(IMAGE_SHAPE, dtype="uint8", name="images")
    # In bfloat16 the factor itself would be rounded in training, but not in the served model.
    pixels = layers.Rescaling(1 / 255, dtype="float32")(images)
    features = _features(config.network)(pixels)
    logits = layers.Dense(len(LABELS), dtype="float32", name="logits")(features)
    return keras.Model(images, logits, name=config.network)


def mirrored(network: keras.Model) -> keras.Model:
    """Return a network whose outputs are each the mean of those for an image and for its mirror image."""
    images = keras.Input(IMAGE_SHAPE, dtype="uint8", name="images")
    outputs = network(keras.ops.concatenate([images, keras.ops.flip(images, axis=2)]))
    means = keras.tree.map_structure(
        lambda both: keras.ops.mean(keras.ops.reshape(both, (2, -1, *both.shape[1:])), axis=0), outputs
    )
    return keras.Model(images, means, name=network.name)


def multiply_accumulates(network: keras.Model) -> int:
    """Count the multiply-accumulates of convolutions and dense layers for one image.

    Args:
        network: A built network, whose layers' shapes are known.

    Returns:
        The sum over layers of kernel size times output positions, without normalisation and activations, as is usual.

    Raises:
        TypeError: A layer of another kind has a kernel, whose cost would be missing.
    """
    return sum(map(_multiply_accumulates, network.layers))


def _multiply_accumulates(layer: keras.Layer) -> int:
    if isinstance(layer, layers.Conv2D | layers.Dense):
        return int(math.prod((*layer.kernel.shape, *layer.output.shape[1:-1])))
    if any(len(weight.shape) > 1 for weight in layer.weights):
        msg = (
            f"expected kernels in Conv2D and Dense alone, received {type(layer).__name__} {layer.name}: teach the count"
        )
        raise TypeError(msg)
    return 0


def _features(name: Network) -> Callable[[keras.KerasTensor], keras.KerasTensor]:
    """Return the function from pixels, float32 `[batch, 28, 28]`, 0 to 1, to the last layer's input."""
    if name == "mlp":
        return _mlp
    if name == "cnn":
        return partial(_cnn, stem=12, widths=(28, 80, 128), deeper=True)
    return partial(_cnn, stem=12, widths=(24, 44, 64))


def _mlp(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Build the beginner's network: Flatten, Dense 128 with ReLU."""
    return layers.Dense(128, activation="relu")(layers.Flatten()(pixels))


def _cnn(pixels: keras.KerasTensor, stem: int, widths: tuple[int, ...], *, deeper: bool = False) -> keras.KerasTensor:
    """Build a small convolutional network: a 2x2 stem, then three blocks that each halve the image's sides.

    Args:
        pixels: float32 `[batch, 28, 28]`, 0 to 1.
        stem: Number of filters in the stem.
        widths: Number of filters in each block's convolutions.
        deeper: Whether to add another convolution to the last block's output, where the image is smallest: many
            parameters for few multiply-accumulates.

    Source:
        The block, pooling before normalisation, and the residual third convolution are airbench's (Jordan, arXiv
        2404.00498), but with ReLU, for its speed on a CPU, and with learnt filters in the stem instead of whitening.
    """
    features = layers.Reshape((*IMAGE_SHAPE, 1))(pixels)
    features = _normalised(layers.Conv2D(stem, 2, use_bias=False)(features))
    for width in widths:
        features = layers.MaxPooling2D()(_convolved(features, width))
        features = _normalised(features)
        features = _normalised(_convolved(features, width))
    if deeper:
        features = layers.Add()([features, _normalised(_convolved(features, widths[-1]))])
    return layers.GlobalMaxPooling2D()(features)


def _convolved(features: keras.KerasTensor, width: int) -> keras.KerasTensor:
    return layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(features)


def _normalised(features: keras.KerasTensor) -> keras.KerasTensor:
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(features))
