"""Looks at a photograph itself for what 28x28 grey pixels do not show: colours, cloth, buttons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.imaging.onnx_network import OnnxNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Recogniser(OnnxNetwork):
    """The network of `training.recogniser`.

    Attributes:
        labels: The labels of its output, in order.
    """

    side = 160
    labels = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
    purpose = "recognises garments in colour"
    remedy = "Measure the model again: `python -m training.recogniser --measure`."


LEAST = np.finfo(np.float32).tiny
"""Lower bound that keeps logarithms and divisors from 0."""

RECOGNISER = Recogniser(Path(__file__).with_name("recogniser.onnx"))


def evidence_in(colours: NDArray[np.uint8] | None, labels: Sequence[str]) -> NDArray[np.float32] | None:
    """Return how strongly a photograph speaks for each label.

    Args:
        colours: uint8 `[height, width, 3]`, a photograph; None for any other picture.
        labels: The labels of the model.

    Returns:
        float32 `[10]`, in label order: the logarithm of how much more often a garment that looks like this has the
        label than garments do on average; 0 for Bag, where that is unknown, since there were no photographs of bags.
        None if there is no photograph, or if the model has other labels.
    """
    return None if colours is None or tuple(labels) != RECOGNISER.labels else RECOGNISER.look_at(colours)


def weigh(
    probabilities: NDArray[np.float32], evidence: NDArray[np.float32] | None, temperature: float
) -> NDArray[np.float32]:
    """Combine a model's probabilities for the 28x28 image with the evidence in the photograph itself, by Bayes' rule.

    That assumes that the two are independent given the label. They are not quite, and the temperature makes up for it.
    A probability without evidence stays as it is.

    Args:
        probabilities: float32 `[10]`, or `[n, 10]`.
        evidence: Of the same shape, as `evidence_in` returns it; None leaves the probabilities as they are.
        temperature: Divides the logarithm of the product.

    Returns:
        The combined probabilities, float32 of the same shape, each row summing to 1.
    """
    if evidence is None:
        return probabilities
    known = evidence != 0
    logarithms = (np.log(np.maximum(probabilities, LEAST)) + evidence) / np.float32(temperature)
    weighed = np.exp(logarithms - logarithms.max(axis=-1, keepdims=True)) * known
    share = (probabilities * known).sum(axis=-1, keepdims=True)
    scale = share / np.maximum(weighed.sum(axis=-1, keepdims=True), LEAST)
    together = np.where(known, weighed * scale, probabilities)
    # Rounding would leave a few probabilities of 1.0000001; divided by the sum of its row, none is above 1.
    return np.asarray(together / together.sum(axis=-1, keepdims=True), np.float32)
