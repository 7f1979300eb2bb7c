from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from app.imaging.segmentation import SIDE, Segmenter
from training.onnx_file import export
from training.segmenter.network import build, quarters

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


def test_the_file_gives_what_keras_gives(tmp_path: Path) -> None:
    network = used()
    export(network, tmp_path / "segmenter.onnx")
    colours = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    logits = network.predict(colours[None], verbose=0)
    likely = Segmenter(tmp_path / "segmenter.onnx")(colours)
    assert np.ptp(likely) > 0.5
    np.testing.assert_allclose(quarters(likely[None]), 1 / (1 + np.exp(-logits)), atol=1e-4)


def test_quarters_are_the_pixels_of_each_2x2_block() -> None:
    garment = np.arange(SIDE * SIDE, dtype=np.float32).reshape(1, SIDE, SIDE)
    folded = quarters(garment)
    assert folded.shape == (1, SIDE // 2, SIDE // 2, 4)
    assert folded[0, 5, 7].tolist() == garment[0, 10:12, 14:16].ravel().tolist()
