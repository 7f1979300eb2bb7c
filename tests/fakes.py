"""Small but real implementations that tests pass in."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from app.classifier import Answers
from app.model_card import (
    IMAGE_SHAPE,
    ClassMetrics,
    FamiliarityFacts,
    GoldenExample,
    ModelCard,
    NetworkFacts,
    PredictionSetFacts,
    SharpeningFacts,
    SplitMetrics,
    TrainingFacts,
)
from training.data import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from starlette.types import ASGIApp, Receive, Scope, Send


def make_card(files: dict[str, str] | None = None) -> ModelCard:
    """Make the card of a model that does not exist, with the given file digests."""
    metrics = SplitMetrics(
        n=10,
        accuracy=0.5,
        accuracy_interval_95=(0.2, 0.8),
        negative_log_likelihood=1.0,
        brier_score=0.5,
        ece_equal_mass=0.1,
        ece_equal_width=0.1,
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
        sharpening=SharpeningFacts(label_smoothing=0.1, kept=0.05, temperature=1.0),
        prediction_sets=tuple(
            PredictionSetFacts(
                coverage=coverage,
                threshold=threshold,
                test_coverage=coverage,
                test_mean_size=1.0,
                test_worst_class="Shirt",
                test_worst_class_coverage=0.8,
            )
            for coverage, threshold in ((0.9, 0.5), (0.95, 0.04))
        ),
        familiarity=FamiliarityFacts(threshold=0.05, flagged={}, separations=()),
        training=TrainingFacts(config={"seed": 0}, epochs=1, minutes=0.1, machine="none", versions={}, data_digests={}),
        golden_set=(GoldenExample.of(np.zeros(IMAGE_SHAPE, np.uint8), np.eye(len(LABELS), dtype=np.float32)[0], 0.5),),
    )


class FirstPixelClassifier:
    """Prefers the class that the first pixel names, so that a test can tell whose answer it got.

    The next class is the second most probable. The second pixel is the image's familiarity in per cent.

    Attributes:
        seen: Every batch that was classified, uint8 `[n, 28, 28]`.
        before: Called with each batch before it is answered; may wait or raise.
        seconds: Returns the time in seconds that it claims to take for a batch of the given size.
    """

    def __init__(
        self,
        before: Callable[[NDArray[np.uint8]], None] = lambda _: None,
        seconds: Callable[[int], float] = lambda _: math.inf,
    ) -> None:
        self.card = make_card()
        self.seconds = seconds
        self.seen: list[NDArray[np.uint8]] = []
        self.before = before

    @property
    def seen_classes(self) -> list[list[int]]:
        """The classes that the images of each batch name."""
        return [images[:, 0, 0].tolist() for images in self.seen]

    def classify(self, images: NDArray[np.uint8]) -> Answers:
        self.seen.append(images.copy())
        self.before(images)
        probabilities = np.full((len(images), len(LABELS)), 0.005, np.float32)
        for place, probability in enumerate((0.91, 0.05)):
            probabilities[np.arange(len(images)), (images[:, 0, 0] + place) % len(LABELS)] = probability
        return Answers(probabilities, (images[:, 0, 1] % 101).astype(np.float32) / np.float32(100))


class HeldClassifier(FirstPixelClassifier):
    """Waits in every pass until the test releases it.

    Attributes:
        entered: Set when a pass begins.
        release: Set by the test; from then on, no pass waits.
    """

    def __init__(self) -> None:
        super().__init__(self._hold)
        self.entered, self.release = threading.Event(), threading.Event()

    def _hold(self, _: NDArray[np.uint8]) -> None:
        self.entered.set()
        assert self.release.wait(60)

    async def begins(self) -> None:
        """Wait for the first pass to begin."""
        assert await asyncio.to_thread(self.entered.wait, 60)


class ScriptedService:
    """ASGI app that answers each call with the next app of a script, mostly a response, and repeats the last.

    Attributes:
        times: When each call came, in seconds of the monotonic clock.
        most_at_once: The largest number of calls that were open at once.
    """

    def __init__(self, *script: ASGIApp, delay_seconds: float = 0) -> None:
        self.times: list[float] = []
        self.most_at_once = 0
        self._script = script
        self._delay_seconds = delay_seconds
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        response = self._script[min(len(self.times), len(self._script) - 1)]
        self.times.append(time.monotonic())
        self._open += 1
        self.most_at_once = max(self.most_at_once, self._open)
        await asyncio.sleep(self._delay_seconds)
        await response(scope, receive, send)
        self._open -= 1


def tagged_image(class_id: int, familiarity_percent: int = 50) -> NDArray[np.uint8]:
    """Return an image that `FirstPixelClassifier` assigns to a class, uint8 `[28, 28]`."""
    image = np.zeros(IMAGE_SHAPE, np.uint8)
    image[0, :2] = class_id, familiarity_percent
    return image
