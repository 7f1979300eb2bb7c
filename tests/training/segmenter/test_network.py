from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import onnx

from app.imaging.segmentation import SIDE, Segmenter
from training.segmenter.network import build, export, quarters

if TYPE_CHECKING:
    from pathlib import Path


def used() -> keras.Model:
    """Return a network whose normalisations have seen data."""
    keras.utils.set_random_seed(0)
    network = build()
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weights.shape) for weights in layer.get_weights()])
    return network


def test_opencv_sees_what_keras_sees(tmp_path: Path) -> None:
    network = used()
    export(network, tmp_path / "segmenter.onnx", {"photographs": "3"})
    colours = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    logits = network.predict(colours[None], verbose=0)
    likely = Segmenter(tmp_path / "segmenter.onnx")(colours)
    assert np.ptp(likely) > 0.5
    np.testing.assert_allclose(quarters(likely[None]), 1 / (1 + np.exp(-logits)), atol=1e-4)


def test_the_file_says_what_it_was_made_of(tmp_path: Path) -> None:
    export(used(), tmp_path / "segmenter.onnx", {"photographs": "3"})
    facts = {entry.key: entry.value for entry in onnx.load(tmp_path / "segmenter.onnx").metadata_props}
    assert facts == {"photographs": "3"}


def test_quarters_are_the_pixels_of_each_2x2_block() -> None:
    garment = np.arange(SIDE * SIDE, dtype=np.float32).reshape(1, SIDE, SIDE)
    folded = quarters(garment)
    assert folded.shape == (1, SIDE // 2, SIDE // 2, 4)
    assert folded[0, 5, 7].tolist() == garment[0, 10:12, 14:16].ravel().tolist()
