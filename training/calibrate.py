"""Fits, on the validation split, what makes a network's outputs mean what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import softmax

from training.conformal import COVERAGES, fit_threshold
from training.data import LABELS, one_hot
from training.reliability import negative_log_likelihood

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.data import Split

QUANTILES = 201


@dataclass(frozen=True, slots=True)
class Sharpening:
    """Turns logits into probabilities that are right as often as they say.

    A network that was trained with label smoothing gives every label its share of it, even where it is sure. A
    temperature cannot take that back, so the share itself is taken away. One that was taught with softened targets
    leaves too much to what is unlikely, the more the less likely it is: its logarithms are bent as well as divided.

    Attributes:
        label_smoothing: Share of the training targets that was spread evenly over all labels.
        kept: How much of the smoothed answer is kept, so that no label is impossible.
        temperature: What the logarithms are divided by; 1 where label smoothing was undone.
        bend: What their squares are multiplied by before they are taken away; 0 where label smoothing was undone.

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
        logarithms = keras.ops.log(keras.ops.maximum(share, 1e-30))  # that of 0 times a bend of 0 is not a number
        bent = logarithms / self.temperature - self.bend * logarithms**2
        # oneDNN may round a share to just above 1.
        return keras.ops.minimum(keras.ops.softmax(bent), 1)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns logits into probabilities and sets, and scores into familiarities.

    Attributes:
        sharpening: From logits to probabilities.
        thresholds: For each coverage the least probability of a label in a prediction set.
        quantiles: float32 `[k]`, of the familiarity scores of the split, lowest first and evenly spaced from 0 to 1.
    """

    sharpening: Sharpening
    thresholds: dict[float, float]
    quantiles: NDArray[np.float32]


def calibrate(network: keras.Model, label_smoothing: float, validation: Split) -> Calibration:
    """Fit everything to the same images: the two numbers of the sharpening cannot learn thousands of them by heart.

    Args:
        network: From uint8 `[batch, 28, 28]` to logits `[batch, 10]` and familiarity scores `[batch]`.
        label_smoothing: With which it was trained.
        validation: Images that it has not learnt from.
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

    What is kept of the smoothing is fitted where there was any, else the temperature and the bend. What else was tried
    fits no better or calibrates worse (training/README.md).

    Args:
        logits: float32 `[n, 10]` of images that the network has not learnt from.
        label_smoothing: With which it was trained.
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
    bounds = [np.log([0.05, 20]), (0, 5)]  # a bend of less than 0 could put the likely below the unlikely
    # Not from a coordinate of 0: along it SciPy's first step is so small that the bend slides to its bound and stays.
    return bent(minimize(lambda both: loss(bent(both)), [1, 0.1], bounds=bounds, method="Nelder-Mead").x)


def uncalibrated(network: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the softmax of a network's logits as they are, float32 `[n, 10]`."""
    return np.asarray(softmax(network.predict(images, batch_size=500, verbose=0)[0], axis=1))
