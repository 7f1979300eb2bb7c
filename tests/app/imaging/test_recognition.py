from __future__ import annotations

import numpy as np
import pytest

from app.errors import StartError
from app.imaging.recognition import RECOGNISER, evidence_in, weigh
from training.data import LABELS


def test_without_a_photograph_there_is_no_evidence_and_no_bit_changes() -> None:
    assert evidence_in(None, LABELS) is None
    probabilities = np.full(10, 0.1, np.float32)
    assert weigh(probabilities, None, 2) is probabilities


def test_evidence_multiplies_odds() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], np.float32)
    evidence = np.log(np.array([[2, 4, 1 + 1e-6], [4, 1 + 1e-6, 1 + 1e-6]], np.float32))
    expected = np.array([[1, 1.2, 0.2], [0.4, 0.1, 0.8]]) / [[2.4], [1.3]]
    np.testing.assert_allclose(weigh(probabilities, evidence, 1), expected, rtol=1e-5)
    np.testing.assert_allclose(weigh(probabilities[0], evidence[0], 1), expected[0], rtol=1e-5)


def test_the_temperature_applies_only_to_labels_with_evidence() -> None:
    probabilities = np.array([0.5, 0.3, 0.2], np.float32)
    evidence = np.log(np.array([2, 0.5, 1], np.float32))
    odds = np.sqrt([0.5 * 2, 0.3 * 0.5])
    expected = [*(0.8 * odds / odds.sum()), 0.2]
    np.testing.assert_allclose(weigh(probabilities, evidence, 2), expected, rtol=1e-6)


def test_a_label_without_evidence_keeps_its_probability() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0, 0, 1]], np.float32)
    evidence = np.log(np.array([[1.5, 0.5, 1]] * 2, np.float32))
    weighed = weigh(probabilities, evidence, 1)
    expected = np.array([[0.8 * 0.75 / 0.9, 0.8 * 0.15 / 0.9, 0.2], [0, 0, 1]])
    np.testing.assert_allclose(weighed, expected, rtol=1e-6)


def test_rounding_never_makes_a_probability_of_more_than_one() -> None:
    rng = np.random.default_rng(0)
    said = np.exp(rng.normal(0, 12, (20_000, 10)).astype(np.float32))
    evidence = rng.normal(0, 4, said.shape).astype(np.float32)
    evidence[:, 8] = 0
    weighed = weigh(said / said.sum(axis=1, keepdims=True), evidence, 1.6)
    assert weighed.min() >= 0
    assert weighed.max() == 1
    np.testing.assert_allclose(weighed.sum(axis=1), 1, rtol=1e-6)


def test_the_evidence_of_a_photograph_is_bounded_and_neither_for_nor_against_a_bag() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    for colours in (noise, np.zeros_like(noise), np.full_like(noise, 255)):
        evidence = evidence_in(colours, LABELS)
        assert evidence is not None
        assert evidence.shape == (10,)
        assert evidence.dtype == np.float32
        assert evidence[LABELS.index("Bag")] == 0
        assert evidence.min() >= -5
        assert evidence.max() < 5
        assert (evidence == evidence_in(colours, LABELS)).all()


def test_there_is_evidence_only_for_a_model_with_the_labels_of_the_recogniser() -> None:
    assert RECOGNISER.labels == LABELS
    colours = np.zeros((90, 70, 3), np.uint8)
    assert evidence_in(colours, list(LABELS)) is not None
    assert evidence_in(colours, [*LABELS[:9], "Hat"]) is None
    assert evidence_in(colours, [*LABELS, "Hat"]) is None


def test_a_file_other_than_the_one_the_card_names_is_refused() -> None:
    RECOGNISER.require(RECOGNISER.digest)
    with pytest.raises(
        StartError, match=r"recognises garments in colour which the model's card names, found another\. Measure"
    ):
        RECOGNISER.require("0" * 64)
