"""Fits the temperature that makes probabilities mean what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from training.evaluate import negative_log_likelihood

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fit_temperature(logits: NDArray[np.float32], class_ids: NDArray[np.uint8]) -> float:
    """Find the temperature with the lowest negative log-likelihood.

    Args:
        logits: float32 `[n, 10]` of images that the network has not learnt from.
        class_ids: uint8 `[n]`, the true classes.

    Returns:
        What to divide logits by, from 0.05 to 20; above 1 where the network is too sure of itself.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 4.2.
    """

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(softmax(logits / np.exp(log_temperature), axis=1), class_ids)

    return float(np.exp(minimize_scalar(loss, bounds=np.log([0.05, 20]), method="bounded").x))
