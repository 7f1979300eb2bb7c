"""Calibrates a network's outputs on the validation split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import softmax

from training.data import LABELS, one_hot
from training.trust.conformal import COVERAGES, fit_threshold
from training.trust.reliability import negative_log_likelihood

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.data import Split

QUANTILES = 201


@dataclass(frozen=True, slots=True)
class Sharpening:
    """Turns logits into calibrated probabilities.

    A network trained with label smoothing gives every label its share of the smoothing, even where it is sure. A
    temperature cannot undo that, so the share itself is subtracted. A network trained on softened targets gives
    unlikely labels too much, the more so the less likely they are: its log probabilities are bent as well as divided.

    Attributes:
        label_smoothing: Share of the training targets that was spread evenly over all labels.
        kept: How much of the smoothed answer is added back, so that no label is impossible.
        temperature: Divisor of the log probabilities; 1 where label smoothing was undone.
        bend: Factor of their squares, which are subtracted; 0 where label smoothing was undone.

    Source:
        Szegedy et al., "Rethinking the Inception Architecture" (arXiv 1512.00567), section 7, for what is undone;
        Guo et al., "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 4.2, for the temperature.
    """

    label_smoothing: float
    kept: float = 1.0
    temperature: float = 1.0
    bend: float = 0.0

    def __call__(self, logits: keras.KerasTensor) -> keras.KerasTensor:
        """Return the probabilities, float32 `[n, 10]`, for logits of that shape."""
        smoothed = keras.ops.softmax(logits)
        sharp = keras.ops.maximum(smoothed - self.label_smoothing / len(LABELS), 0) + self.kept * smoothed
        share = sharp / keras.ops.sum(sharp, axis=-1, keepdims=True)
        logarithms = keras.ops.log(keras.ops.maximum(share, 1e-30))  # the square of log 0 times a bend of 0 is NaN
        bent = logarithms / self.temperature - self.bend * logarithms**2
        # oneDNN may round a share to just above 1.
        return keras.ops.minimum(keras.ops.softmax(bent), 1)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns logits into probabilities and prediction sets, and familiarity scores into familiarities.

    Attributes:
        sharpening: From logits to probabilities.
        thresholds: For each coverage, the least probability at which a label joins a prediction set.
        quantiles: float32 `[k]`, quantiles of the split's familiarity scores, ascending, evenly spaced from 0 to 1.
    """

    sharpening: Sharpening
    thresholds: dict[float, float]
    quantiles: NDArray[np.float32]


def calibrate(network: keras.Model, label_smoothing: float, validation: Split) -> Calibration:
    """Fit everything to the same images: the sharpening has two parameters and cannot overfit thousands of images.

    Args:
        network: From uint8 `[batch, 28, 28]` to logits `[batch, 10]` and familiarity scores `[batch]`.
        label_smoothing: Label smoothing that the network was trained with.
        validation: Images that the network was not trained on.
    """
    logits, scores = network.predict(validation.images, batch_size=500, verbose=0)
    sharpening = fit_sharpening(logits, label_smoothing, validation.class_ids)
    probabilities = keras.ops.convert_to_numpy(sharpening(logits))
    right = one_hot(validation.class_ids) > 0
    return Calibration(
        sharpening,
        {coverage: fit_threshold(probabilities, right, coverage) for coverage in COVERAGES},
        np.quantile(scores, np.linspace(0, 1, QUANTILES)).astype(np.float32),
    )


def fit_sharpening(logits: NDArray[np.float32], label_smoothing: float, class_ids: NDArray[np.uint8]) -> Sharpening:
    """Find the sharpening with the lowest negative log-likelihood.

    With label smoothing, `kept` is fitted; without it, the temperature and the bend. Alternatives that were tried fit
    no better or calibrate worse (training/README.md).

    Args:
        logits: float32 `[n, 10]` of images that the network was not trained on.
        label_smoothing: Label smoothing that the network was trained with.
        class_ids: uint8 `[n]`, the true classes.
    """

    def loss(sharpening: Sharpening) -> float:
        return negative_log_likelihood(keras.ops.convert_to_numpy(sharpening(logits)), class_ids)

    def undone(logarithm: float) -> Sharpening:
        return Sharpening(label_smoothing, kept=float(np.exp(logarithm)))

    def bent(numbers: NDArray[np.float64]) -> Sharpening:
        return Sharpening(0.0, temperature=float(np.exp(numbers[0])), bend=float(numbers[1]))

    if label_smoothing:
        return undone(minimize_scalar(lambda one: loss(undone(one)), bounds=np.log([1e-4, 20]), method="bounded").x)
    bounds = [np.log([0.05, 20]), (0, 5)]  # a negative bend could rank a likely label below an unlikely one
    # No coordinate starts at 0: SciPy's first step along it would be so small that the bend ends at its bound.
    return bent(minimize(lambda both: loss(bent(both)), [1, 0.1], bounds=bounds, method="Nelder-Mead").x)


def uncalibrated(network: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the plain softmax of a network's logits, float32 `[n, 10]`."""
    return np.asarray(softmax(network.predict(images, batch_size=500, verbose=0)[0], axis=1))
