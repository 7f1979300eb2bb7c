from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from training.config import DEFAULTS
from training.network import build, mirrored, multiply_accumulates, precision

if TYPE_CHECKING:
    from training.config import Network


def test_the_mlp_is_the_beginner_s_network() -> None:
    network = build(DEFAULTS["mlp"])
    assert network.count_params() == 784 * 128 + 128 + 128 * 10 + 10
    assert multiply_accumulates(network) == 784 * 128 + 128 * 10


@pytest.mark.parametrize(("name", "parameters"), [("cnn", 600_000), ("tiny", 99_999)])
def test_a_network_keeps_its_budget(name: Network, parameters: int) -> None:
    network = build(DEFAULTS[name])
    assert network.count_params() <= parameters
    assert 2 * multiply_accumulates(network) <= 30_000_000  # twice, since it sees the mirror image too


def test_the_last_convolution_of_the_cnn_is_added_to_its_input() -> None:
    network = build(DEFAULTS["cnn"])
    (joined,) = (layer for layer in network.layers if isinstance(layer, keras.layers.Add))
    parts = keras.Model(network.input, [*joined.input, joined.output])
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    given, added, both = parts.predict(images, verbose=0)
    assert given.shape == added.shape == (3, 3, 3, 128)
    assert added.any()
    assert both == pytest.approx(given + added, abs=1e-5)


def test_an_image_and_its_mirror_image_get_the_mean_of_both_answers() -> None:
    network = build(DEFAULTS["cnn"])
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    flipped = np.ascontiguousarray(images[:, :, ::-1])
    answers = mirrored(network).predict(images, verbose=0)
    assert mirrored(network).predict(flipped, verbose=0) == pytest.approx(answers, abs=1e-4)
    assert answers == pytest.approx(
        (network.predict(images, verbose=0) + network.predict(flipped, verbose=0)) / 2, abs=1e-4
    )


def test_multiply_accumulates_of_a_convolution_are_kernel_times_positions() -> None:
    image = keras.Input((28, 28, 3))
    features = keras.layers.Conv2D(16, 3, strides=2, padding="same")(image)
    network = keras.Model(image, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(features)))
    assert multiply_accumulates(network) == 14 * 14 * (3 * 3 * 3 * 16) + 16 * 10


def test_a_dense_layer_on_a_map_counts_at_each_position() -> None:
    image = keras.Input((14, 14, 3))
    assert multiply_accumulates(keras.Model(image, keras.layers.Dense(10)(image))) == 14 * 14 * 3 * 10


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.DepthwiseConv2D(3),
        keras.layers.SeparableConv2D(4, 3),
        keras.layers.Conv2DTranspose(4, 3),
        keras.Sequential([keras.Input((28, 28, 3)), keras.layers.Dense(4)], name="nested"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_whose_operations_cannot_be_counted_is_refused(layer: keras.Layer) -> None:
    image = keras.Input((28, 28, 3))
    with pytest.raises(TypeError, match=f"received {type(layer).__name__} "):
        multiply_accumulates(keras.Model(image, layer(image)))


@pytest.mark.parametrize("name", ["mlp", "cnn", "tiny"])
def test_networks_take_bytes_and_divide_by_255_themselves(name: Network) -> None:
    network = build(DEFAULTS[name])
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    logits = network.predict(images, verbose=0)
    assert network.input.dtype == "uint8"
    assert logits.shape == (3, 10)
    assert logits.dtype == np.float32
    assert next(layer.scale for layer in network.layers if layer.name.startswith("rescaling")) == 1 / 255


def test_bytes_are_divided_in_float32_whatever_the_precision() -> None:
    with precision("mixed_bfloat16"):
        network = build(DEFAULTS["cnn"])
    pixels = network.get_layer(index=1)(np.arange(256, dtype=np.uint8))
    assert np.array_equal(pixels, np.arange(256, dtype=np.float32) * np.float32(1 / 255))
