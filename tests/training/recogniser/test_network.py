from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from PIL import Image

from app.imaging.recognition import Recogniser
from app.pages import WEB
from training.onnx_file import export
from training.recogniser.network import build, published_weights

if TYPE_CHECKING:
    from pathlib import Path


def test_the_features_are_those_of_pytorch_with_the_same_weights(tmp_path: Path) -> None:
    """The expected values are from PyTorch 2.13 and efficientnet-lite-pytorch 0.1.0, in float32."""
    network = build(published_weights())
    export(keras.Model(network.input, network.get_layer("features").output), tmp_path / "features.onnx")
    sweater = np.asarray(Image.open(WEB / "samples" / "sweater.jpg").convert("RGB"))
    features = Recogniser(tmp_path / "features.onnx").look_at(sweater)
    assert features.shape == (112 + 192 + 320,)
    theirs = [-3.025, 2.478, -9.2, 6.545, 3.457, -5.807, 2.37, -3.195, 1.948, -0.393, -2.286, 2.226, -3.613]
    np.testing.assert_allclose(features[::48], theirs, atol=2e-3)


def test_before_training_every_label_is_as_likely() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3), dtype=np.uint8)
    assert not build(published_weights()).predict_on_batch(pictures).any()
