"""Fits how sure of a photograph two networks together may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar

from app.imaging.recognition import LEAST, weigh

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5


def fit_temperature(
    probabilities: NDArray[np.float32], evidence: NDArray[np.float32], fitting: NDArray[np.float32]
) -> float:
    """Find the temperature of `weigh` with the lowest negative log-likelihood of a label that fits.

    Bayes' rule takes the networks for independent, but both see the same garment and err on the same ones, so that
    together they are too sure. A temperature keeps the order of the labels that evidence speaks of.

    Args:
        probabilities: float32 `[n, 10]`, of photographs that neither network has learnt from.
        evidence: float32 `[n, 10]`, what each speaks for.
        fitting: float32 `[n, 10]`, above 0 where a label counts as right.

    Returns:
        1 where no photograph speaks for anything.

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


def cross_fitted(
    probabilities: NDArray[np.float32], evidence: NDArray[np.float32], fitting: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Weigh each photograph at the temperature fitted to the four fifths that it is not among.

    So what is measured on them owes nothing to the fit.

    Args:
        probabilities: As of `fit_temperature`, in any order that puts photographs of one kind side by side.
        evidence: Likewise.
        fitting: Likewise.

    Returns:
        float32 `[n, 10]`.
    """
    weighed = np.empty_like(probabilities)
    folds = np.arange(len(probabilities)) % FOLDS
    for fold in range(FOLDS):
        here, others = folds == fold, folds != fold
        temperature = fit_temperature(probabilities[others], evidence[others], fitting[others])
        weighed[here] = weigh(probabilities[here], evidence[here], temperature)
    return weighed


def fitting_loss(probabilities: NDArray[np.float32], fitting: NDArray[np.float32]) -> float:
    """Return the mean negative log-likelihood, in nats, of all labels together that fit a photograph."""
    together = (probabilities * (fitting > 0)).sum(axis=1)
    return float(-np.log(np.maximum(together, LEAST)).mean())
