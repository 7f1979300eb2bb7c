from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers

from training.onnx_file import export

if TYPE_CHECKING:
    from pathlib import Path

PARTS = {
    "convolution": lambda: [layers.Conv2D(6, 3, padding="same")],
    "halving convolution": lambda: [layers.Conv2D(6, 5, strides=2, padding="same")],
    "depthwise convolution": lambda: [layers.DepthwiseConv2D(5, padding="same")],
    "halving depthwise convolution": lambda: [layers.DepthwiseConv2D(3, strides=2, padding="same")],
    "normalised convolution": lambda: [
        layers.Conv2D(6, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
    ],
    "bend": lambda: [layers.ReLU()],
    "two bends": lambda: [layers.ReLU(0.5)],
    "enlarged": lambda: [layers.UpSampling2D()],
    "left out in training alone": lambda: [layers.ReLU(), layers.Dropout(0.5)],
    "last layer": lambda: [layers.GlobalAveragePooling2D(), layers.Dense(4)],
}


def network_of(*parts: layers.Layer) -> keras.Model:
    """Return a network of the given layers, with random weights in all of them."""
    pixels = value = keras.Input((8, 8, 3), dtype="uint8")
    for part in (layers.Rescaling(1 / 127.5, offset=-1), *parts):
        value = part(value)
    network = keras.Model(pixels, value)
    rng = np.random.default_rng(0)
    network.set_weights([rng.uniform(0.5, 1.5, weights.shape) for weights in network.get_weights()])
    return network


def run(path: Path, pictures: np.ndarray) -> np.ndarray:
    """Run a file on uint8 `[1, height, width, 3]`, and return its output with the channels last."""
    pixels = pictures.transpose(0, 3, 1, 2) / np.float32(127.5) - 1
    (output,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"pixels": pixels})
    return np.asarray(output if output.ndim == 2 else output.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("part", PARTS)
def test_the_file_gives_what_keras_gives(part: str, tmp_path: Path) -> None:
    network = network_of(*PARTS[part]())
    export(network, tmp_path / "network.onnx")
    pictures = np.random.default_rng(1).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    expected = network.predict_on_batch(pictures)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(run(tmp_path / "network.onnx", pictures), expected, rtol=1e-4, atol=1e-4)


def test_paths_that_part_meet_again_in_the_file(tmp_path: Path) -> None:
    pixels = keras.Input((8, 8, 3), dtype="uint8")
    one = layers.ReLU()(layers.Rescaling(1 / 127.5, offset=-1)(pixels))
    other = layers.Conv2D(3, 1)(one)
    means = [layers.GlobalAveragePooling2D()(value) for value in (other, layers.Add()([one, other]))]
    network = keras.Model(pixels, layers.Concatenate()(means))
    export(network, tmp_path / "network.onnx")
    pictures = np.random.default_rng(1).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    expected = network.predict_on_batch(pictures)
    assert expected.shape == (1, 6)
    np.testing.assert_allclose(run(tmp_path / "network.onnx", pictures), expected, atol=1e-5)


def test_the_file_says_what_it_was_made_of(tmp_path: Path) -> None:
    export(network_of(layers.ReLU()), tmp_path / "network.onnx", {"photographs": "3"})
    facts = {entry.key: entry.value for entry in onnx.load(tmp_path / "network.onnx").metadata_props}
    assert facts == {"photographs": "3"}


def test_a_layer_that_would_not_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found MaxPooling2D"):
        export(network_of(layers.MaxPooling2D()), tmp_path / "network.onnx")
