from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import onnx
from PIL import Image

from app.http.pages import WEB
from app.imaging.recognition import Recogniser
from training.recogniser.network import Backbone, Head, complete, export, published_weights

if TYPE_CHECKING:
    from pathlib import Path


def features_of(picture: np.ndarray, folder: Path) -> np.ndarray:
    export(published_weights(), folder / "backbone.onnx")
    return Backbone(folder / "backbone.onnx").look_at(picture)


def test_the_features_are_those_of_pytorch_with_the_same_weights(tmp_path: Path) -> None:
    """The expected values are from PyTorch 2.13 and efficientnet-lite-pytorch 0.1.0, in float32."""
    sweater = np.asarray(Image.open(WEB / "samples" / "sweater.jpg").convert("RGB"))
    features = features_of(sweater, tmp_path)
    assert features.shape == (112 + 192 + 320,)
    theirs = [-3.025, 2.478, -9.2, 6.545, 3.457, -5.807, 2.37, -3.195, 1.948, -0.393, -2.286, 2.226, -3.613]
    np.testing.assert_allclose(features[::48], theirs, atol=2e-3)


def test_the_last_layer_gives_the_log_ratio_of_each_label_to_its_prior(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    features = features_of(picture, tmp_path)
    rng = np.random.default_rng(1)
    kernel = (rng.normal(0, 0.02, (len(features), 10))).astype(np.float16).astype(np.float32)
    prior = np.array([0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0, 0.1], np.float32)
    bias = np.array([0, 0, 0, 0, -30, 0, 0, 0, -60, 0], np.float32)
    complete(tmp_path / "backbone.onnx", Head(kernel, bias, prior), tmp_path / "whole.onnx", {"photographs": "3"})
    evidence = Recogniser(tmp_path / "whole.onnx").look_at(picture)
    logits = features @ kernel + bias
    likely = np.exp(logits - logits.max())
    expected = np.log(likely / likely.sum() / np.where(prior, prior, 1)).clip(-5)
    expected[8] = 0
    np.testing.assert_allclose(evidence, expected, atol=1e-4)
    assert evidence[4] == -5
    facts = {entry.key: entry.value for entry in onnx.load(tmp_path / "whole.onnx").metadata_props}
    assert facts == {"photographs": "3"}


def test_a_picture_is_reduced_to_the_side_of_the_network(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    small = cv2.resize(picture, (160, 160), interpolation=cv2.INTER_AREA)
    features = features_of(picture, tmp_path)
    assert (features == Backbone(tmp_path / "backbone.onnx").look_at(np.asarray(small))).all()
