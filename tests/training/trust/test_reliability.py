from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from training.trust.reliability import (
    BINS,
    brier_score,
    error_by_chance,
    expected_calibration_error,
    negative_log_likelihood,
    reliability,
)

EQUAL = ["mass", "width"]


def answers(confidence: np.ndarray) -> np.ndarray:
    """Return probabilities, `[n, 10]`, whose largest are the given ones."""
    return np.column_stack([confidence, np.repeat((1 - confidence)[:, None] / 9, 9, axis=1)]).astype(np.float32)


@pytest.mark.parametrize("equal", EQUAL)
@pytest.mark.parametrize("overconfidence", [0.0, 0.1])
def test_the_error_is_by_how_much_confidence_exceeds_accuracy(
    equal: Literal["mass", "width"], overconfidence: float
) -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1, 200_000)
    right = rng.random(len(confidence)) < confidence - overconfidence
    error = expected_calibration_error(answers(confidence), right, equal)
    assert error == pytest.approx(overconfidence, abs=0.004)


def test_bins_hold_equally_many_images_or_span_equally_much_confidence() -> None:
    confidence = np.random.default_rng(0).uniform(0.5, 1, 1500) ** 0.2
    right = np.ones(1500, bool)
    by_mass = reliability(answers(confidence), right, "mass")
    assert by_mass[:, 0] == pytest.approx(np.full(BINS, 1 / BINS))
    by_width = reliability(answers(confidence), right, "width")
    assert by_width[:, 0].sum() == pytest.approx(1)
    assert (np.diff(by_width[:, 1]) < 2 / BINS).all()
    assert len(by_width) < BINS  # empty bins are left out


@pytest.mark.parametrize("equal", EQUAL)
def test_the_error_by_chance_is_that_of_calibrated_answers(equal: Literal["mass", "width"]) -> None:
    rng = np.random.default_rng(7)
    confidence = rng.uniform(0.3, 1, 600)
    said = answers(confidence)
    drawn = [expected_calibration_error(said, rng.random(600) < confidence, equal) for _ in range(500)]
    assert error_by_chance(said, equal) == pytest.approx(np.mean(drawn), rel=0.05)
    assert error_by_chance(np.eye(10, dtype=np.float32), equal) == 0


def test_the_brier_score_averages_zero_for_a_sure_right_answer_and_two_for_a_sure_mistake() -> None:
    assert brier_score(np.eye(10, dtype=np.float32)[[0, 1]], np.array([0, 0], np.uint8)) == 1


def test_the_log_of_a_zero_is_bounded() -> None:
    impossible = np.eye(10, dtype=np.float32)[[1]]
    assert negative_log_likelihood(impossible, np.array([0], np.uint8)) == pytest.approx(87.3, abs=0.1)
