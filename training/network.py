"""The networks: plain Keras graphs from uint8 images to logits."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import keras
from keras import layers

from app.model_card import IMAGE_SHAPE
from training.data import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.config import Network, TrainingConfig


def build(config: TrainingConfig) -> keras.Model:
    """Build the config's network with fresh weights, under Keras' current precision policy.

    Args:
        config: Names the network.

    Returns:
        A model from uint8 `[batch, 28, 28]`, 0 to 255, to float32 logits `[batch, 10]`; dividing by 255 is its first
        layer, so nothing has to be scaled by whoever calls it.
    """
    images = keras.Input(IMAGE_SHAPE, dtype="uint8", name="images")
    # In bfloat16 the factor itself would be rounded while training, and not in what is served.
    pixels = layers.Rescaling(1 / 255, dtype="float32")(images)
    features = _features(config.network)(pixels)
    logits = layers.Dense(len(LABELS), dtype="float32", name="logits")(features)
    return keras.Model(images, logits, name=config.network)


def mirrored(network: keras.Model) -> keras.Model:
    """Return the network whose every output is the mean of those for an image and for its mirror image."""
    images = keras.Input(IMAGE_SHAPE, dtype="uint8", name="images")
    outputs = network(keras.ops.concatenate([images, keras.ops.flip(images, axis=2)]))
    means = keras.tree.map_structure(
        lambda both: keras.ops.mean(keras.ops.reshape(both, (2, -1, *both.shape[1:])), axis=0), outputs
    )
    return keras.Model(images, means, name=network.name)


def multiply_accumulates(network: keras.Model) -> int:
    """Count the multiply-accumulates of convolutions and dense layers for one image.

    Args:
        network: Built, so that the shapes of its layers are known.

    Returns:
        The sum over layers of kernel size times output positions; normalisation and activations are left out, as is
        usual.

    Raises:
        TypeError: A layer of another kind has a kernel, whose cost would be left out.
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
    """Return what turns pixels, float32 `[batch, 28, 28]` from 0 to 1, into what the last layer sees."""
    if name == "mlp":
        return _mlp
    if name == "cnn":
        return partial(_cnn, stem=12, widths=(28, 80, 128), deeper=True)
    return partial(_cnn, stem=12, widths=(24, 44, 64))


def _mlp(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """The learner's network: Flatten, Dense 128 with ReLU."""
    return layers.Dense(128, activation="relu")(layers.Flatten()(pixels))


def _cnn(pixels: keras.KerasTensor, stem: int, widths: tuple[int, ...], *, deeper: bool = False) -> keras.KerasTensor:
    """A small convolutional network: a 2x2 stem, then three blocks that each halve the picture.

    Args:
        pixels: float32 `[batch, 28, 28]`, 0 to 1.
        stem: Filters of the stem.
        widths: Filters of each block's convolutions.
        deeper: Whether a convolution more is added to the last block's outcome, where the picture is smallest: many
            parameters for few multiply-accumulates.

    Source:
        The block, pooling before normalisation, and the residual third convolution are airbench's (Jordan, arXiv
        2404.00498), with ReLU for its speed on a CPU and learnt instead of whitening filters in the stem.
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
