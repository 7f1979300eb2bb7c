"""Turns the bytes of a picture into a prediction: admits, decodes, batches, judges."""

from __future__ import annotations

import asyncio
import base64
import io
import math
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from app.admission import SMALL, Admission, work_of
from app.batching import MicroBatcher, batch_sizes
from app.classifier import SavedModelClassifier
from app.errors import OverloadedError
from app.imaging.conversion import Mode, convert, in_given
from app.imaging.decode import RAW_BYTES, accepted_format, declared_pixels, decode, is_tiny
from app.imaging.native import read_native
from app.imaging.recognition import RECOGNISER, evidence_in, weigh
from app.imaging.segmentation import SEGMENTER
from app.model_card import IMAGE_SHAPE
from app.pacing import Pacing
from app.schemas import ClassName
from app.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    import numpy as np
    from numpy.typing import NDArray

    from app.admission import Line
    from app.classifier import Answers, Classifier
    from app.settings import Settings


STUCK_SECONDS = 60.0
"""How long a thread may work on one thing before it counts as stuck. The slowest picture within the default limits
takes five seconds, and a forward pass far less."""

_NATIVE_PNG = {"format": "PNG", "width": IMAGE_SHAPE[1], "height": IMAGE_SHAPE[0]}


class Load(NamedTuple):
    """The work that a worker has in hand.

    Attributes:
        pending: Pictures taken on and not yet answered, those of batches included that wait for places.
        oldest: When the first of them was taken on or, if earlier, when a thread began its current work, by
            `time.monotonic`; None if there is neither.
        queued: Pictures that are ready for the model and wait for the next forward pass.
    """

    pending: int
    oldest: float | None
    queued: int


def load_classifier(settings: Settings, cores: int) -> SavedModelClassifier:
    """Load the model that the settings name, with the other networks that its card names.

    Raises:
        StartError: One of the three is missing, damaged or not the one that is expected.
    """
    classifier = SavedModelClassifier(
        settings.model_dir, batch_sizes(settings.max_forward_images), settings.threads or cores
    )
    SEGMENTER.require(classifier.card.segmenter)
    RECOGNISER.require(classifier.card.recogniser)
    return classifier


class Prepared(NamedTuple):
    """A picture prepared for the model; its decoded pixels are released before it waits for its batch.

    Attributes:
        image: uint8 `[28, 28]`, garment bright on black.
        facts: What the file is and how it became the image: the second half of the answer.
        evidence: float32 `[10]`, how strongly a photograph's colours speak for each label; None for other pictures.
    """

    image: NDArray[np.uint8]
    facts: dict[str, Any]
    evidence: NDArray[np.float32] | None = None


class Predictor:
    """The one way from bytes to an answer."""

    def __init__(
        self,
        classifier: Classifier,
        settings: Settings,
        cores: int,
        on_pass: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Take the classifier, the settings, the number of decoding threads and a callback for each forward pass.

        Raises:
            StartError: The model was not fitted for the coverage that the settings ask for.
        """
        self._batcher = MicroBatcher(classifier, settings.max_forward_images, on_pass)
        self._settings = settings
        self._admission = Admission(
            settings.max_pending_images, settings.max_queue_seconds, settings.request_timeout_seconds
        )
        self._pacing = Pacing()
        self._decoders = ThreadPoolExecutor(cores, "decode")
        self._decoding: dict[object, float] = {}
        self.card = classifier.card
        sets = self.card.sets_for(settings.coverage)
        self._threshold = sets.threshold
        self._photo_threshold = sets.threshold if sets.photos_threshold is None else sets.photos_threshold
        self._model = {"name": self.card.name, "version": self.card.version}
        self.classes = tuple(ClassName(class_id=i, label=label) for i, label in enumerate(self.card.labels))

    async def predict(  # noqa: PLR0913  each a thing of its own
        self,
        data: bytes,
        media_type: str,
        mode: Mode,
        *,
        preview: bool = False,
        stages: Stages | None = None,
        line: Line | None = None,
    ) -> dict[str, Any]:
        """Classify one picture; cancelling drops it wherever it waits.

        Args:
            data: The encoded bytes.
            media_type: The media type that the sender states.
            mode: How to convert the picture.
            preview: Whether to show the image that the model saw.
            stages: Times the stages.
            line: Where to wait for a place if there is none, as the pictures of a batch do.

        Returns:
            A `schemas.Prediction` in plain types, which are built and serialised five times as fast.

        Raises:
            ServiceError: The picture is refused, or too much is pending already.
        """
        stages = stages or Stages()
        is_small = _is_small(data, mode)
        work = self._work_of(data, is_small=is_small)
        certain = min(work, work_of(len(data)))
        with await line.permit(work, certain) if line else self._admission.permit(work, certain):
            prepare = partial(self._prepare, media_type=media_type, mode=mode, preview=preview, stages=stages)
            if is_small:
                prepared = self._prepare_native(data, mode, stages, preview=preview) or prepare(data)
            else:
                prepared = await self._in_thread(prepare, data)
            classified = await self._batcher.classify(prepared.image)
        stages.end_pass(classified.started, classified.ended, classified.images)
        return self._judge(classified.answer, prepared.evidence) | prepared.facts

    def line_up(self, pictures: Iterable[bytes], mode: Mode, asker: Hashable) -> Line:
        """Let the encoded pictures of a batch wait for places, within a `with` block.

        Raises:
            OverloadedError: Too much is pending already.
        """
        try:
            return self._admission.line_up([self._work_of(data, is_small=_is_small(data, mode)) for data in pictures])
        except OverloadedError:
            self._refuse(asker)
            raise

    async def admit_request(self, asker: Hashable) -> None:
        """Refuse a request before its body is even read, if no picture can be taken on.

        A client that is back sooner than its last refusal told it is held back first.

        Args:
            asker: The client; None if unknown.

        Raises:
            OverloadedError: Too much is pending already.
        """
        while True:
            try:
                return self._admission.require_place()
            except OverloadedError:
                if not (wait := self._pacing.take_seconds_too_soon(asker)):
                    self._refuse(asker)
                    raise
            await asyncio.sleep(wait)

    def _refuse(self, asker: Hashable) -> None:
        if asker is not None:
            self._pacing.refuse(asker)

    def load(self) -> Load:
        """Return the work in hand now."""
        oldest = min(filter(None, (self._admission.oldest, self._working_since)), default=None)
        return Load(self._admission.pending, oldest, self._batcher.queued)

    def is_stuck(self) -> bool:
        """Tell whether a thread has worked on one thing for longer than any takes, so that others wait in vain."""
        since = self._working_since
        return since is not None and time.monotonic() - since > STUCK_SECONDS

    def close(self) -> None:
        """Release the threads."""
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._batcher.close()

    @property
    def _working_since(self) -> float | None:
        """When the thread that has worked longest began its current work, even if nobody waits for it any more."""
        return min(filter(None, [*self._decoding.values(), self._batcher.running_since]), default=None)

    def _work_of(self, data: bytes, *, is_small: bool) -> float:
        if is_small:
            return SMALL
        pixels = declared_pixels(data)
        may_be_taken = accepted_format(data) is not None or len(data) == RAW_BYTES
        if not may_be_taken or pixels > self._settings.max_image_pixels:
            return SMALL  # it is refused for its first bytes
        return work_of(len(data), pixels)

    async def _in_thread(self, prepare: Callable[[bytes], Prepared], data: bytes) -> Prepared:
        """Prepare a picture in a thread.

        If cancelled while it is queued, it is never decoded; if cancelled later, only its result is dropped.
        """
        # The executor keeps cancelled work in its queue, and the bytes must not stay there with it.
        kept = [data]

        def work() -> Prepared:
            self._decoding[this := object()] = time.monotonic()
            try:
                return prepare(kept.pop())
            finally:
                del self._decoding[this]

        try:
            return await asyncio.get_running_loop().run_in_executor(self._decoders, work)
        finally:
            kept.clear()

    def _prepare(self, data: bytes, *, media_type: str, mode: Mode, preview: bool, stages: Stages) -> Prepared:
        """Decode and convert; called in a thread unless the picture is tiny."""
        stages.end("queue")
        try:
            decoded = decode(data, media_type, self._settings.max_image_pixels)
        finally:
            stages.end("decode")
        converted = convert(decoded.pixels, mode, decoded.opacity)
        evidence = evidence_in(converted.colours, self.card.labels)
        steps = (*decoded.steps, *converted.steps, *(() if evidence is None else ("seen_in_colour",)))
        conversion: dict[str, Any] = {"mode": converted.mode, "steps": steps}
        if converted.box:
            box = in_given(converted.box, (0, 0), decoded.reduction, (decoded.width, decoded.height))
            conversion["garment"] = dict(zip(("left", "top", "right", "bottom"), box, strict=True))
        file = {"format": decoded.format, "width": decoded.width, "height": decoded.height}
        facts = self._facts(converted.image, file, conversion, preview=preview)
        stages.end("convert")
        return Prepared(converted.image, facts, evidence)

    def _prepare_native(self, data: bytes, mode: Mode, stages: Stages, *, preview: bool) -> Prepared | None:
        """Return what `_prepare` would, in half the time, for a picture that needs no conversion, else None."""
        stages.end("queue")
        image = read_native(data) if math.prod(IMAGE_SHAPE) <= self._settings.max_image_pixels else None
        if image is None:
            return None
        stages.end("decode")
        file, conversion = _NATIVE_PNG, {"mode": "native" if mode is Mode.AUTO else "none", "steps": ()}
        facts = self._facts(image, file, conversion, preview=preview)
        stages.end("convert")
        return Prepared(image, facts)

    def _facts(
        self, image: NDArray[np.uint8], file: dict[str, Any], conversion: dict[str, Any], *, preview: bool
    ) -> dict[str, Any]:
        """Return what the answer says about the picture itself."""
        facts = {"image": file, "conversion": conversion, "model": self._model}
        return facts | {"preview": _data_uri(image)} if preview else facts

    def _judge(self, answer: Answers, evidence: NDArray[np.float32] | None) -> dict[str, Any]:
        """Combine the model's answer with a photograph's own evidence, and rank and judge the result."""
        probabilities = weigh(answer.probabilities, evidence, self.card.photo_temperature)
        classes = [
            {"class_id": name.class_id, "label": name.label, "probability": probability}
            for name, probability in zip(self.classes, probabilities.tolist(), strict=True)
        ]
        ranked = sorted(classes, key=itemgetter("probability"), reverse=True)
        threshold = self._threshold if evidence is None else self._photo_threshold
        least = min(threshold, ranked[0]["probability"])  # the most probable is always included
        familiarity = float(answer.familiarity)
        return {
            "prediction": ranked[0],
            "probabilities": classes,
            "prediction_set": [one["label"] for one in ranked if one["probability"] >= least],
            "familiar": familiarity >= self.card.familiarity.threshold,
            "familiarity": familiarity,
        }


def _is_small(data: bytes, mode: Mode) -> bool:
    """Tell whether a picture is prepared on the event loop."""
    return is_tiny(data) and mode is not Mode.PHOTO


def _data_uri(image: NDArray[np.uint8]) -> str:
    """Return an image as a PNG data URI, which a web page can show as it is."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
