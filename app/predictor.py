"""Turns the bytes of a picture into a prediction: admits, decodes, batches, judges."""

from __future__ import annotations

import asyncio
import base64
import io
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from anyio import CapacityLimiter, to_thread
from PIL import Image

from app.batching import MicroBatcher
from app.errors import OverloadedError, RequestTimeoutError, StartError
from app.imaging.conversion import Mode, convert
from app.imaging.decode import decode, is_tiny
from app.schemas import ClassName
from app.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from app.classifier import Answers, Classifier
    from app.imaging.decode import Decoded
    from app.model_card import ModelCard
    from app.settings import Settings

RATE_MEMORY = 0.9
"""Share of the old estimate that stays when another picture has been timed."""


class Load(NamedTuple):
    """What waits.

    Attributes:
        pending: Pictures taken on and not yet answered.
        oldest: When the first of them was taken on, by `time.monotonic`; None where there is none.
        queued: Those ready for the model that wait for the next forward pass.
    """

    pending: int
    oldest: float | None
    queued: int


class Admission:
    """Counts the pictures taken on, and refuses more than a limit with an honest time to come back."""

    def __init__(self, limit: int) -> None:
        """Take the most pictures at a time."""
        self._limit = limit
        self._pending = 0
        self._taken_on: dict[object, float] = {}
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
        self._taken_on[ticket := object()] = time.monotonic()
        try:
            yield
        finally:
            del self._taken_on[ticket]
            self._pending -= 1
            self._time_one()

    @property
    def pending(self) -> int:
        """How many pictures are taken on and not yet answered."""
        return self._pending

    @property
    def oldest(self) -> float | None:
        """When the first of them was taken on, by `time.monotonic`."""
        return next(iter(self._taken_on.values()), None)

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


@dataclass(slots=True)
class Prepared:
    """A picture made ready for the model; its decoded pixels are let go before it waits for its batch.

    Attributes:
        image: uint8 `[28, 28]`, garment bright on black.
        facts: What the file was and how it became the image: the second half of the answer.
    """

    image: NDArray[np.uint8]
    facts: dict[str, Any]


class Predictor:
    """The one way from bytes to an answer."""

    def __init__(
        self,
        classifier: Classifier,
        settings: Settings,
        cores: int,
        passed: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Take what computes, what limits, how many pictures may be decoded at a time, and who hears of each pass.

        Raises:
            StartError: The model was not fitted for the coverage that the settings ask for.
        """
        self._batcher = MicroBatcher(classifier, settings.max_forward_images, passed)
        self._settings = settings
        self._admission = Admission(settings.max_pending_images)
        self._decoders = CapacityLimiter(cores)
        self.card = classifier.card
        self._least_probability = _least_probability(self.card, settings.coverage)
        self._model = {"name": self.card.name, "version": self.card.version}
        self.classes = tuple(ClassName(class_id=i, label=label) for i, label in enumerate(self.card.labels))

    async def predict(
        self, data: bytes, media_type: str, mode: Mode, *, preview: bool = False, stages: Stages | None = None
    ) -> dict[str, Any]:
        """Answer for one picture.

        Args:
            data: The encoded bytes.
            media_type: What the sender calls them.
            mode: How to convert.
            preview: Whether to show the image that the model saw.
            stages: What times them.

        Returns:
            A `schemas.Prediction` in plain types, which is made and written five times as fast.

        Raises:
            ServiceError: The picture is refused, the deadline passed, or too much waits already.
        """
        stages = stages or Stages()
        limit = self._settings.request_timeout_seconds
        with self._admission.permit():
            try:
                async with asyncio.timeout(limit):
                    if is_tiny(data) and mode is not Mode.PHOTO:
                        prepared = self._prepare(data, media_type, mode, preview, stages)
                    else:
                        prepared = await to_thread.run_sync(
                            self._prepare, data, media_type, mode, preview, stages, limiter=self._decoders
                        )
                    classified = await self._batcher.classify(prepared.image)
            except TimeoutError as error:
                msg = f"Expected an answer within {limit:g} seconds, which have passed. Try again later."
                raise RequestTimeoutError(msg) from error
        stages.end_pass(classified.started, classified.ended, classified.images)
        return self._judge(classified.answer) | prepared.facts

    def load(self) -> Load:
        """What waits now."""
        return Load(self._admission.pending, self._admission.oldest, self._batcher.queued)

    def close(self) -> None:
        """Release the thread of the forward pass."""
        self._batcher.close()

    def _prepare(self, data: bytes, media_type: str, mode: Mode, preview: bool, stages: Stages) -> Prepared:  # noqa: FBT001  anyio's `run_sync` passes no keywords
        """Decode and convert, in a thread unless it takes no time."""
        stages.end("queue")
        decoded = decode(data, media_type, self._settings.max_image_pixels)
        stages.end("decode")
        converted = convert(decoded.pixels, mode)
        conversion: dict[str, Any] = {"mode": converted.mode, "steps": decoded.steps + converted.steps}
        if converted.box:
            conversion["garment"] = _in_upright_file(converted.box, decoded)
        facts: dict[str, Any] = {
            "image": {"format": decoded.format, "width": decoded.width, "height": decoded.height},
            "conversion": conversion,
            "model": self._model,
        }
        if preview:
            facts["preview"] = _data_uri(converted.image)
        stages.end("convert")
        return Prepared(converted.image, facts)

    def _judge(self, answer: Answers) -> dict[str, Any]:
        """Name, rank and weigh what the model says of one image."""
        classes = [
            {"class_id": name.class_id, "label": name.label, "probability": probability}
            for name, probability in zip(self.classes, answer.probabilities.tolist(), strict=True)
        ]
        ranked = sorted(classes, key=itemgetter("probability"), reverse=True)
        familiarity = float(answer.familiarity)
        return {
            "prediction": ranked[0],
            "probabilities": classes,
            "prediction_set": [
                one["label"] for one in ranked if one is ranked[0] or one["probability"] >= self._least_probability
            ],
            "familiar": familiarity >= self.card.familiarity.threshold,
            "familiarity": familiarity,
        }


def _least_probability(card: ModelCard, coverage: float) -> float:
    """Look up the threshold that was fitted for a coverage.

    Raises:
        StartError: None was.
    """
    fitted = {one.coverage: one.threshold for one in card.prediction_sets}
    if coverage not in fitted:
        msg = f"FASHION_COVERAGE: expected one of {', '.join(map(str, fitted))}, for which the model was fitted, found "
        msg += str(coverage)
        raise StartError(msg)
    return fitted[coverage]


def _in_upright_file(box: tuple[int, int, int, int], decoded: Decoded) -> dict[str, int]:
    """Scale a box of the decoded pixels to the upright file, whose last row and column it may not pass."""
    width, height = decoded.pixels.size
    short, long = sorted((decoded.width, decoded.height))  # which is which depends on how the file is turned
    sides = (long if width > height else short, long if height > width else short)
    left, top, right, bottom = (min(edge * decoded.reduction, side) for edge, side in zip(box, sides * 2, strict=True))
    return {"left": left, "top": top, "right": right, "bottom": bottom}


def _data_uri(image: NDArray[np.uint8]) -> str:
    """Return an image as a PNG that a web page can show as it is."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
