from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import keras
import numpy as np
import onnx
import pytest
from keras import layers

from app.imaging.recognition import Recogniser
from training.onnx_file import export
from training.recogniser.evidence import complete

if TYPE_CHECKING:
    from pathlib import Path

PRIOR = np.array([0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0, 0.1], np.float32)


@pytest.fixture
def network() -> keras.Model:
    """A network whose logits depend on the mean colour of its picture; that of a Coat is far below the others."""
    pixels = keras.Input((160, 160, 3), dtype="uint8")
    mean = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 127.5, offset=-1)(pixels))
    last = layers.Dense(10)
    network = keras.Model(pixels, last(mean))
    last.set_weights([np.random.default_rng(0).normal(0, 1, (3, 10)), np.eye(10)[4] * -30])
    return network


def test_the_evidence_is_the_log_ratio_of_each_label_to_its_prior(network: keras.Model, tmp_path: Path) -> None:
    picture = np.full((160, 160, 3), (20, 200, 90), np.uint8)
    export(network, tmp_path / "logits.onnx")
    complete(tmp_path / "logits.onnx", PRIOR, 1.5, tmp_path / "whole.onnx", {"photographs": "3"})
    evidence = Recogniser(tmp_path / "whole.onnx").look_at(picture)
    (logits,) = network.predict_on_batch(picture[None])
    likely = np.exp(1.5 * logits) * (PRIOR > 0)
    expected = np.log(likely / likely.sum(), where=PRIOR > 0, out=np.zeros(10, np.float32))
    expected = (expected - np.log(PRIOR, where=PRIOR > 0, out=np.zeros(10, np.float32))).clip(-5)
    np.testing.assert_allclose(evidence, expected, atol=1e-3)
    assert evidence[4] == -5
    assert evidence[8] == 0  # no evidence for or against a label never seen
    facts = {entry.key: entry.value for entry in onnx.load(tmp_path / "whole.onnx").metadata_props}
    assert facts == {"photographs": "3"}


def test_a_picture_is_reduced_to_the_side_of_the_network(network: keras.Model, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    small = cv2.resize(picture, (160, 160), interpolation=cv2.INTER_AREA)
    export(network, tmp_path / "logits.onnx")
    recogniser = Recogniser(tmp_path / "logits.onnx")
    assert recogniser.look_at(picture).any()
    assert (recogniser.look_at(picture) == recogniser.look_at(np.asarray(small))).all()
