"""Measures how well probabilities are calibrated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 15


def reliability(
    probabilities: NDArray[np.float32], right: NDArray[np.bool_], equal: Literal["mass", "width"]
) -> NDArray[np.float64]:
    """Compare confidence and accuracy in bins of the most probable class's probability.

    Args:
        probabilities: float32 `[n, 10]`.
        right: bool `[n]`, whether the most probable class is a right one.
        equal: What all bins have in common: the number of images (`mass`) or the range of confidence (`width`).

    Returns:
        float64 `[bins, 3]`: share of the images, mean confidence and accuracy of each bin that is not empty.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    if equal == "mass":
        rank = np.argsort(np.argsort(confidence, kind="stable"), kind="stable")
        bin_of = rank * BINS // len(confidence)
    else:
        bin_of = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
    counts = np.bincount(bin_of, minlength=BINS)
    filled = counts > 0
    sums = np.stack([np.bincount(bin_of, values, BINS) for values in (confidence, right)])[:, filled]
    return np.vstack([counts[filled] / len(confidence), sums / counts[filled]]).T


def expected_calibration_error(
    probabilities: NDArray[np.float32], right: NDArray[np.bool_], equal: Literal["mass", "width"]
) -> float:
    """Return the mean distance between confidence and accuracy over the bins of `reliability`, weighted by images.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks" (arXiv 1706.04599); equal mass: Nguyen and O'Connor
        (arXiv 1508.05154).
    """
    shares, confidence, accuracy = reliability(probabilities, right, equal).T
    return float(shares @ np.abs(confidence - accuracy))


def error_by_chance(probabilities: NDArray[np.float32], equal: Literal["mass", "width"], draws: int = 1000) -> float:
    """Return the average `expected_calibration_error` that perfectly calibrated probabilities would have.

    With few images per bin, the share of right answers differs from the confidence by chance alone.

    Args:
        probabilities: float32 `[n, 10]`.
        equal: As in `expected_calibration_error`.
        draws: Number of times to draw which answers are right, each with its confidence as probability.
    """
    rng, confidence = np.random.default_rng(0), probabilities.max(axis=1)
    drawn = (rng.random(len(confidence)) < confidence for _ in range(draws))
    return float(np.mean([expected_calibration_error(probabilities, right, equal) for right in drawn]))


def brier_score(probabilities: NDArray[np.float32], class_ids: NDArray[np.uint8]) -> float:
    """Return the mean squared distance between the probabilities, `[n, 10]`, and the true classes, `[n]`: 0 to 2.

    Source:
        Brier, "Verification of forecasts expressed in terms of probability" (1950).
    """
    truth = np.eye(probabilities.shape[1])[class_ids]
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def negative_log_likelihood(probabilities: NDArray[np.floating], class_ids: NDArray[np.uint8]) -> float:
    """Return the mean negative logarithm of the true class's probability, in nats.

    Args:
        probabilities: `[n, 10]`; zeros count as the smallest positive float32.
        class_ids: `[n]`.
    """
    true = probabilities[np.arange(len(class_ids)), class_ids].astype(np.float64)
    return float(-np.log(np.maximum(true, np.finfo(np.float32).tiny)).mean())
