"""Turns the bytes of a picture into a prediction: admits, decodes, batches, ranks."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, to_thread

from app.batching import MicroBatcher
from app.errors import OverloadedError, RequestTimeoutError
from app.imaging.conversion import convert
from app.imaging.decode import decode
from app.schemas import ClassName, ClassProbability, ConversionFacts, ImageFacts, ModelName, Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from app.classifier import Classifier
    from app.imaging.conversion import Mode
    from app.settings import Settings

RATE_MEMORY = 0.9
"""Share of the old estimate that stays when another picture has been timed."""


class Admission:
    """Counts the pictures taken on, and refuses more than a limit with an honest time to come back."""

    def __init__(self, limit: int) -> None:
        """Take the most pictures at a time."""
        self._limit = limit
        self._pending = 0
        self._last_finished = 0.0
        self._seconds_between = 0.0

    @contextmanager
    def permit(self) -> Iterator[None]:
        """Hold a place for one picture; taken before anything is awaited, so a burst admits exactly the limit.

        Raises:
            OverloadedError: All places are taken.
        """
        if self._pending >= self._limit:
            msg = f"Expected at most {self._limit} pictures at a time, received one more. Try again later."
            raise OverloadedError(msg, self.retry_after_seconds)
        self._pending += 1
        try:
            yield
        finally:
            self._pending -= 1
            self._time_one()

    @property
    def retry_after_seconds(self) -> int:
        """Seconds until what waits now is done at the rate measured last, at least one."""
        return max(1, math.ceil(self._pending * self._seconds_between))

    def _time_one(self) -> None:
        """Estimate the time between two finished pictures, leaving out times when nothing waited."""
        now = time.monotonic()
        if self._pending and self._last_finished:
            since = now - self._last_finished
            self._seconds_between += (1 - RATE_MEMORY) * (since - self._seconds_between)
        self._last_finished = now


class Predictor:
    """The one way from bytes to an answer."""

    def __init__(self, classifier: Classifier, settings: Settings, cores: int) -> None:
        """Take what computes, what limits, and how many pictures may be decoded at a time."""
        self._batcher = MicroBatcher(classifier, settings.max_forward_images)
        self._settings = settings
        self._admission = Admission(settings.max_pending_images)
        self._decoders = CapacityLimiter(cores)
        self.card = classifier.card
        self._model = ModelName(name=self.card.name, version=self.card.version)
        self.classes = tuple(ClassName(class_id=i, label=label) for i, label in enumerate(self.card.labels))

    async def predict(self, data: bytes, media_type: str, mode: Mode) -> Prediction:
        """Answer for one picture.

        Args:
            data: The encoded bytes.
            media_type: What the sender calls them.
            mode: How to convert.

        Raises:
            ServiceError: The picture is refused, the deadline passed, or too much waits already.
        """
        limit = self._settings.request_timeout_seconds
        with self._admission.permit():
            try:
                async with asyncio.timeout(limit):
                    image, image_facts, conversion_facts = await to_thread.run_sync(
                        self._prepare, data, media_type, mode, limiter=self._decoders
                    )
                    probabilities = await self._batcher.classify(image)
            except TimeoutError as error:
                msg = f"Expected an answer within {limit:g} seconds, which have passed. Try again later."
                raise RequestTimeoutError(msg) from error
        ranked = self._rank(probabilities.tolist())
        return Prediction(
            prediction=max(ranked, key=lambda one: one.probability),
            probabilities=ranked,
            image=image_facts,
            conversion=conversion_facts,
            model=self._model,
        )

    def close(self) -> None:
        """Release the thread of the forward pass."""
        self._batcher.close()

    def _prepare(
        self, data: bytes, media_type: str, mode: Mode
    ) -> tuple[NDArray[np.uint8], ImageFacts, ConversionFacts]:
        """Decode and convert, in a thread; the decoded pixels are let go before the image waits for its batch."""
        decoded = decode(data, media_type, self._settings.max_image_pixels)
        converted = convert(decoded.pixels, mode)
        return (
            converted.image,
            ImageFacts(format=decoded.format, width=decoded.width, height=decoded.height),
            ConversionFacts(mode=converted.mode, steps=decoded.steps + converted.steps),
        )

    def _rank(self, probabilities: list[float]) -> tuple[ClassProbability, ...]:
        return tuple(
            ClassProbability(class_id=name.class_id, label=name.label, probability=probability)
            for name, probability in zip(self.classes, probabilities, strict=True)
        )
