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
        labels: What it speaks for, in the order of its output.
    """

    side = 160
    labels = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
    purpose = "recognises garments in colour"
    remedy = "Measure the model again: `python -m training.recogniser --measure`."


LEAST = np.finfo(np.float32).tiny
"""What divides where nothing is left to share."""

RECOGNISER = Recogniser(Path(__file__).with_name("recogniser.onnx"))


def evidence_in(colours: NDArray[np.uint8] | None, labels: Sequence[str]) -> NDArray[np.float32] | None:
    """Say by how much a photograph speaks for each label.

    Args:
        colours: uint8 `[height, width, 3]`, a photograph; None for any other picture.
        labels: Those of the model.

    Returns:
        float32 `[10]`, in label order: the logarithm of how much more often a garment that looks so has the label than
        garments have on average; 0 where that is not known, of Bag, since there were no photographs of any. None for
        None, and where the model has other labels.
    """
    return None if colours is None or tuple(labels) != RECOGNISER.labels else RECOGNISER.look_at(colours)


def weigh(
    probabilities: NDArray[np.float32], evidence: NDArray[np.float32] | None, temperature: float
) -> NDArray[np.float32]:
    """Combine what a model says of the 28x28 image with what the photograph itself speaks for, by Bayes' rule.

    That takes both for independent of each other, given the label, which they are not quite: the temperature makes up
    for it. Where nothing is known the probability stays.

    Args:
        probabilities: float32 `[10]`, or `[n, 10]`.
        evidence: Likewise, as `evidence_in` returns it; None leaves the probabilities as they are.
        temperature: What the logarithms of their product are divided by.

    Returns:
        Likewise, each row summing to 1.
    """
    if evidence is None:
        return probabilities
    known = evidence != 0
    logarithms = (np.log(np.maximum(probabilities, LEAST)) + evidence) / np.float32(temperature)
    weighed = np.exp(logarithms - logarithms.max(axis=-1, keepdims=True)) * known
    share = (probabilities * known).sum(axis=-1, keepdims=True)
    scale = share / np.maximum(weighed.sum(axis=-1, keepdims=True), LEAST)
    together = np.where(known, weighed * scale, probabilities)
    # Rounding alone would leave some of 1.0000001; no part of a sum is more than the sum.
    return np.asarray(together / together.sum(axis=-1, keepdims=True), np.float32)
