"""Small real implementations that tests pass in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from app.model_card import IMAGE_SHAPE, ClassMetrics, ModelCard, NetworkFacts, SplitMetrics, TrainingFacts
from training.data import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def make_card(files: dict[str, str] | None = None) -> ModelCard:
    """Make a card of a model that does not exist, for the given file digests."""
    metrics = SplitMetrics(
        n=10,
        accuracy=0.5,
        accuracy_interval_95=(0.2, 0.8),
        negative_log_likelihood=1.0,
        classes=tuple(ClassMetrics(label=label, precision=0.5, recall=0.5) for label in LABELS),
    )
    return ModelCard(
        name="fake",
        version="7",
        labels=LABELS,
        input_shape=IMAGE_SHAPE,
        files=files or {},
        network=NetworkFacts(name="fake", parameters=1, multiply_accumulates=1),
        metrics={"test": metrics},
        temperature=1.0,
        thresholds={},
        training=TrainingFacts(config={"seed": 0}, epochs=1, minutes=0.1, machine="none", versions={}, data_digests={}),
        golden_set=(),
    )


class FirstPixelClassifier:
    """Sure of the class that the first pixel names, so that a test can tell whose answer it got.

    Attributes:
        seen: Every batch that was classified, uint8 `[n, 28, 28]`.
        before: Called with each batch before it is answered; may wait or raise.
    """

    def __init__(self, before: Callable[[NDArray[np.uint8]], None] = lambda _: None) -> None:
        self.card = make_card()
        self.seen: list[NDArray[np.uint8]] = []
        self.before = before

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.seen.append(images.copy())
        self.before(images)
        probabilities = np.full((len(images), len(LABELS)), 0.01, np.float32)
        probabilities[np.arange(len(images)), images[:, 0, 0] % len(LABELS)] = 0.91
        return probabilities


def tagged_image(class_id: int) -> NDArray[np.uint8]:
    """Return the image that `FirstPixelClassifier` puts into a class, uint8 `[28, 28]`."""
    image = np.zeros(IMAGE_SHAPE, np.uint8)
    image[0, 0] = class_id
    return image
