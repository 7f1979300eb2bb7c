from __future__ import annotations

import numpy as np
import pytest

from app.imaging.recognition import weigh
from training.trust.photo_temperature import FOLDS, cross_fitted, fit_temperature, fitting_loss


def of_twins(n: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw photographs to which two networks, each calibrated by itself, give exactly the same answer."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (n, 10)).astype(np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    named = (probabilities.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return probabilities, np.log(10 * probabilities), np.eye(10, dtype=np.float32)[named]


def test_the_same_answer_given_twice_counts_once() -> None:
    probabilities, evidence, allowed = of_twins()
    temperature = fit_temperature(probabilities, evidence, allowed)
    assert temperature == pytest.approx(2, rel=0.05)
    weighed = weigh(probabilities, evidence, temperature)
    assert np.abs(weighed - probabilities).max() < 0.02
    assert fitting_loss(weighed, allowed) < fitting_loss(weigh(probabilities, evidence, 1), allowed) - 0.1


def test_each_photograph_is_weighed_at_the_temperature_of_the_others() -> None:
    said = of_twins(50)
    probabilities, evidence, allowed = said
    for fold in range(FOLDS):
        here = np.arange(50) % FOLDS == fold
        others = (part[~here] for part in said)
        expected = weigh(probabilities[here], evidence[here], fit_temperature(*others))
        np.testing.assert_array_equal(cross_fitted(*said)[here], expected)
    changed = allowed.copy()
    changed[0] = np.roll(changed[0], 1)
    np.testing.assert_array_equal(cross_fitted(probabilities, evidence, changed)[::FOLDS], cross_fitted(*said)[::FOLDS])


def test_without_evidence_nothing_changes() -> None:
    probabilities, evidence, allowed = of_twins(20)
    nothing = np.zeros_like(evidence)
    assert fit_temperature(probabilities, nothing, allowed) == 1
    np.testing.assert_allclose(cross_fitted(probabilities, nothing, allowed), probabilities, rtol=1e-6)


def test_any_label_that_fits_counts_for_the_loss() -> None:
    probabilities = np.array([[0.5, 0.25, 0.25], [0, 0, 1]], np.float32)
    assert fitting_loss(probabilities, np.array([[0, 0.5, 0.5], [0, 0, 1]], np.float32)) == pytest.approx(np.log(2) / 2)
    assert np.isfinite(fitting_loss(probabilities, np.array([[1, 0, 0], [1, 0, 0]], np.float32)))
