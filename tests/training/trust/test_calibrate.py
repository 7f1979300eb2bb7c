from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from training.data import Split
from training.trust.calibrate import Sharpening, calibrate, fit_sharpening
from training.trust.conformal import COVERAGES, prediction_sets


def honest_logits(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return logits, `[n, 10]`, whose softmax is how often each class is true, and true classes, `[n]`."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (n, 10))
    return logits, np.array([rng.choice(10, p=row) for row in softmax(logits, axis=1)], np.uint8)


class Network:
    """Looks up an image's answer by the number in its first two pixels."""

    def __init__(self, logits: np.ndarray, scores: np.ndarray) -> None:
        self.logits, self.scores = logits, scores

    def predict(self, images: np.ndarray, **_: int) -> tuple[np.ndarray, np.ndarray]:
        numbers = numbers_of(images)
        return self.logits[numbers], self.scores[numbers]


def numbers_of(images: np.ndarray) -> np.ndarray:
    return np.asarray(images[:, 0, 0].astype(int) * 256 + images[:, 0, 1])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_spoilt_the_logits_is_undone(temperature: float) -> None:
    logits, class_ids = honest_logits(20_000)
    spoilt = (logits * temperature).astype(np.float32)
    probabilities = np.asarray(fit_sharpening(spoilt, 0, class_ids)(spoilt))
    assert np.abs(probabilities - softmax(logits, axis=1)).mean() < 0.002


def spoilt_by(logits: np.ndarray, temperature: float, bend: float) -> np.ndarray:
    """Return float32 logits; the honest ones are `logits / temperature - bend * logits**2`."""
    honest = np.log(softmax(logits, axis=1))
    unbent = (1 - np.sqrt(1 - 4 * bend * temperature**2 * honest)) / (2 * bend * temperature)
    return np.asarray(np.log(softmax(unbent, axis=1)), np.float32)


@pytest.mark.parametrize(("temperature", "bend"), [(2.0, 0.05), (3.0, 0.1), (1.5, 0.02)])
def test_a_slight_bend_is_found_beside_a_temperature(temperature: float, bend: float) -> None:
    logits, class_ids = honest_logits(20_000)
    fitted = fit_sharpening(spoilt_by(logits, temperature, bend), 0, class_ids)
    assert fitted.bend > bend / 4


def test_the_bend_that_softened_targets_leave_is_undone() -> None:
    logits, class_ids = honest_logits(20_000)
    spoilt = spoilt_by(logits, 1.0, 0.3)
    fitted = fit_sharpening(spoilt, 0, class_ids)
    assert fitted.bend > 0.05
    assert np.abs(np.asarray(fitted(spoilt)) - softmax(logits, axis=1)).mean() < 0.005
    only_divided = np.asarray(replace(fitted, bend=0.0)(spoilt))
    assert np.abs(only_divided - softmax(logits, axis=1)).mean() > 0.01


@pytest.mark.parametrize(
    "sharpening", [Sharpening(0.0, temperature=0.5), Sharpening(0.1, kept=0.01), Sharpening(0.0, bend=0.5)]
)
def test_impossible_labels_get_a_probability_of_zero(sharpening: Sharpening) -> None:
    logits = np.array([[500.0] + [-500.0] * 9], np.float32)
    assert np.asarray(sharpening(logits)) == pytest.approx(np.eye(1, 10), abs=1e-6)


def test_sharpening_keeps_the_order_of_the_labels() -> None:
    logits, class_ids = honest_logits(2_000)
    logits = logits.astype(np.float32)
    assert (np.asarray(fit_sharpening(logits, 0, class_ids)(logits)).argsort(axis=1) == logits.argsort(axis=1)).all()


def test_the_label_smoothing_that_a_network_has_learnt_is_undone() -> None:
    logits, class_ids = honest_logits(20_000)
    honest = softmax(logits, axis=1)
    smoothed = np.log(0.9 * honest + 0.01).astype(np.float32)
    probabilities = np.asarray(fit_sharpening(smoothed, 0.1, class_ids)(smoothed))
    assert np.abs(probabilities - honest).mean() < 0.002
    untold = np.asarray(fit_sharpening(smoothed, 0, class_ids)(smoothed))
    assert np.abs(untold - honest).mean() > 0.003


def test_sharpening_thresholds_and_quantiles_are_fitted_to_the_split() -> None:
    logits, class_ids = honest_logits(10_000)
    scores = np.random.default_rng(1).normal(size=len(logits))
    images = np.zeros((len(logits), 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(len(logits)), 256)
    spoilt = (2 * logits).astype(np.float32)
    fitted = calibrate(Network(spoilt, scores), 0, Split(images, class_ids))
    sharpened = np.asarray(fitted.sharpening(spoilt))
    assert np.abs(sharpened - softmax(logits, axis=1)).mean() < 0.003
    assert tuple(fitted.thresholds) == COVERAGES
    for coverage, threshold in fitted.thresholds.items():
        covered = prediction_sets(sharpened, threshold)[np.arange(len(logits)), class_ids]
        assert covered.mean() == pytest.approx(coverage, abs=0.001)
    assert fitted.quantiles == pytest.approx(np.quantile(scores, np.linspace(0, 1, len(fitted.quantiles))), abs=1e-5)
