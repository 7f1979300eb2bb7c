from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from benchmarks.calibration import FITS, measure, surest
from tests.training.trust.test_calibrate import honest_logits, spoilt_by
from training.trust.calibrate import Sharpening
from training.trust.reliability import negative_log_likelihood


def errors(logits: np.ndarray, class_ids: np.ndarray) -> dict[str, float]:
    """Return the error in bins of equal mass for each that can be fitted."""
    return {name: measure(fit, logits, 0.0, class_ids, draws=2)[:, 1].mean() for name, fit in FITS.items()}


def test_a_temperature_undoes_a_division_and_only_the_bend_undoes_a_bend() -> None:
    logits, class_ids = honest_logits(10_000)
    divided = errors((logits / 3).astype(np.float32), class_ids)
    assert divided["nothing"] > 0.1
    assert divided["a temperature"] < 0.02
    bent = errors(spoilt_by(logits, 1.0, 0.3), class_ids)
    assert bent["nothing"] > bent["a temperature"] > bent["as shipped"]
    assert bent["as shipped"] < 0.02


def test_each_draw_fits_to_one_half_and_measures_on_the_other() -> None:
    logits, class_ids = honest_logits(40)
    halves: list[np.ndarray] = []

    def fit(half: np.ndarray, _label_smoothing: float, _class_ids: np.ndarray) -> Sharpening:
        halves.append(half)
        return Sharpening(0.0)

    measured = measure(fit, logits.astype(np.float32), 0.0, class_ids, draws=3)
    others = [~np.isin(logits[:, 0].astype(np.float32), half[:, 0]) for half in halves]
    assert [other.sum() for other in others] == [20, 20, 20]
    expected = [negative_log_likelihood(softmax(logits[other], axis=1), class_ids[other]) for other in others]
    assert measured[:, 0] == pytest.approx(expected, abs=1e-5)
    assert len(set(expected)) == 3


def test_honest_probabilities_have_the_error_of_chance() -> None:
    logits, class_ids = honest_logits(10_000)
    measured = measure(FITS["nothing"], logits.astype(np.float32), 0.0, class_ids, draws=4)
    _, mass, mass_by_chance, width, width_by_chance = measured.mean(axis=0)
    assert mass == pytest.approx(mass_by_chance, rel=0.5)
    assert width == pytest.approx(width_by_chance, rel=0.5)


def test_the_surest_answers_are_counted_with_how_many_should_be_wrong() -> None:
    probabilities = np.zeros((4, 10), np.float32)
    probabilities[:, 0], probabilities[:, 1] = (0.995, 0.991, 0.998, 0.8), (0.005, 0.009, 0.002, 0.2)
    n, wrong, expected = surest(probabilities, np.array([0, 1, 0, 0], np.uint8))
    assert (n, wrong) == (3, 1)
    assert expected == pytest.approx(0.016, abs=1e-5)
