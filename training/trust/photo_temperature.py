"""Fits the temperature at which two networks' answers about a photograph are combined."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar

from app.imaging.recognition import LEAST, weigh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FOLDS = 5


def fit_temperature(
    probabilities: NDArray[np.float32], evidence: NDArray[np.float32], fitting: NDArray[np.float32]
) -> float:
    """Find the temperature of `weigh` with the lowest negative log-likelihood of the labels that fit.

    Bayes' rule assumes that the networks are independent, but both see the same garment and err on the same ones, so
    together they are too sure. A temperature keeps the order of the labels for which there is evidence.

    Args:
        probabilities: float32 `[n, 10]`, of photographs that neither network has learnt from.
        evidence: float32 `[n, 10]`, each photograph's evidence from its colours.
        fitting: float32 `[n, 10]`, above 0 where a label counts as right.

    Returns:
        The temperature; 1 without any evidence.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 4.2.
    """
    if not evidence.any():
        return 1.0
    found = minimize_scalar(
        lambda logarithm: fitting_loss(weigh(probabilities, evidence, float(np.exp(logarithm))), fitting),
        bounds=np.log([0.2, 5]),
        method="bounded",
    )
    return float(np.exp(found.x))


def folds(
    probabilities: NDArray[np.float32], evidence: NDArray[np.float32], fitting: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float32]]]:
    """Yield each fifth with all photographs weighed at the temperature fitted to the other four fifths.

    Whatever is fitted to those others has no influence of the fifth in it, which may then be measured.

    Args:
        probabilities: As in `fit_temperature`, in any order that keeps photographs of one kind together.
        evidence: As in `fit_temperature`, in the same order.
        fitting: As in `fit_temperature`, in the same order.

    Yields:
        Which are in the fifth, bool `[n]`, and the combined probabilities of all, float32 `[n, 10]`.
    """
    fold_of = np.arange(len(probabilities)) % FOLDS
    for fold in range(FOLDS):
        others = fold_of != fold
        temperature = fit_temperature(probabilities[others], evidence[others], fitting[others])
        yield ~others, weigh(probabilities, evidence, temperature)


def cross_fitted(
    probabilities: NDArray[np.float32], evidence: NDArray[np.float32], fitting: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the probabilities, float32 `[n, 10]`, of each photograph at the temperature fitted to the other fifths."""
    cross = np.empty_like(probabilities)
    for here, weighed in folds(probabilities, evidence, fitting):
        cross[here] = weighed[here]
    return cross


def fitting_loss(probabilities: NDArray[np.float32], fitting: NDArray[np.float32]) -> float:
    """Return the mean negative logarithm, in nats, of the total probability of all labels that fit a photograph."""
    together = (probabilities * (fitting > 0)).sum(axis=1)
    return float(-np.log(np.maximum(together, LEAST)).mean())
