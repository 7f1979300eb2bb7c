"""Gathers images of many requests into one forward pass."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from app.classifier import Answers
from app.model_card import IMAGE_SHAPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from app.classifier import Classifier

LOOP_SECONDS = 0.001
"""A forward pass that takes less runs on the event loop: a thread would cost more than it spares. A longer one would
keep health checks and small pictures from their turn."""

UNPADDED = 32
"""A batch of so many images or fewer is never padded."""

_PADDING = np.zeros(IMAGE_SHAPE, np.uint8)


class Classified(NamedTuple):
    """The answer for one image, and the pass that gave it.

    Attributes:
        answer: One row of `Answers`.
        started: When the pass began, by `time.perf_counter`.
        ended: When it ended.
        images: How many went with it, padding left out.
    """

    answer: Answers
    started: float
    ended: float
    images: int


class Waiting(NamedTuple):
    """An image, uint8 `[28, 28]`, and who waits for its answer."""

    image: NDArray[np.uint8]
    answer: asyncio.Future[Classified]


class Pass(NamedTuple):
    """A forward pass that is over: `Answers` for each row, and when it ran, by `time.perf_counter`."""

    answers: Answers
    started: float
    ended: float


def batch_sizes(most: int) -> tuple[int, ...]:
    """Return the sizes that batches are padded to: all small ones, then so many that at most a ninth is padding.

    A size that was never run would make its first batch slow, and running each before the service is ready takes time.
    """
    sizes = [1]
    while (last := sizes[-1]) < most:
        sizes.append(last + 1 if last < UNPADDED else min(most, last * 9 // 8))
    return tuple(sizes)


class MicroBatcher:
    """Runs one forward pass at a time; while it runs, what arrives is gathered for the next.

    Nothing ever waits on purpose: an image that arrives while no pass runs goes with what else the event loop has to
    bring, turn by turn, and at once where it has nothing. A cheap pass runs on the loop and any other in a thread, by
    what the classifier says it takes; after one in a thread the loop first hands out the answers and looks once for
    what they bring back, else half of the clients would always be computed while the other half waits.

    Attributes:
        running_since: When the pass began that runs in the thread, by `time.monotonic`; None where none does.
    """

    def __init__(
        self, classifier: Classifier, max_batch: int, on_pass: Callable[[int], object] = lambda _: None
    ) -> None:
        """Take the classifier to call, the most images of one pass, and who is told after each how many it had."""
        self._on_pass = on_pass
        self._classifier = classifier
        self._sizes = batch_sizes(max_batch)
        self._waiting: deque[Waiting] = deque()
        self._busy = False
        self.running_since: float | None = None
        # Not the loop's own executor: decoding may fill that.
        self._thread = ThreadPoolExecutor(1, "forward-pass")

    async def classify(self, image: NDArray[np.uint8]) -> Classified:
        """Classify one image, uint8 `[28, 28]`.

        Cancelling drops an image that still waits.
        """
        loop = asyncio.get_running_loop()
        waiting = Waiting(image, loop.create_future())
        self._waiting.append(waiting)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._gather, len(self._waiting))
        return await waiting.answer

    @property
    def queued(self) -> int:
        """How many images wait for the next pass."""
        return len(self._waiting)

    def close(self) -> None:
        """Let the pass that runs finish and release its thread."""
        self._thread.shutdown()

    def _gather(self, seen: int) -> None:
        """Start a pass once a turn of the loop has brought nothing more than had been seen, or all that it can hold."""
        waiting = len(self._waiting)
        if seen < waiting < self._sizes[-1]:
            asyncio.get_running_loop().call_soon(self._gather, waiting)
        else:
            self._next()

    def _next(self) -> None:
        """Start a pass with what waits, if anything does."""
        batch = self._take()
        self._busy = bool(batch)
        if not batch:
            return
        loop = asyncio.get_running_loop()
        with _failing(batch):
            images = self._padded(batch)
            if self._classifier.seconds(len(images)) >= LOOP_SECONDS:
                running = loop.run_in_executor(self._thread, self._run, images)
                self.running_since = time.monotonic()
                running.add_done_callback(lambda done: self._finish(batch, done))
                return
            self._answer(batch, self._run(images))
        # Not at once: what arrived meanwhile goes with what waits.
        loop.call_soon(self._gather, len(self._waiting))

    def _finish(self, batch: list[Waiting], done: asyncio.Future[Pass]) -> None:
        self.running_since = None
        with _failing(batch):
            self._answer(batch, done.result())
        # In the next turn the answers go out; what they bring back comes in the one after it, and goes with what waits.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, loop.call_soon, self._gather, len(self._waiting))

    def _take(self) -> list[Waiting]:
        batch: list[Waiting] = []
        while self._waiting and len(batch) < self._sizes[-1]:
            waiting = self._waiting.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
        return batch

    def _padded(self, batch: list[Waiting]) -> NDArray[np.uint8]:
        """Stack the images up to one of the sizes that were warmed up; rows at the end are for no one."""
        size = next(size for size in self._sizes if size >= len(batch))
        images = [waiting.image for waiting in batch] + [_PADDING] * (size - len(batch))
        return np.concatenate(images).reshape(size, *IMAGE_SHAPE)

    def _run(self, images: NDArray[np.uint8]) -> Pass:
        started = time.perf_counter()
        return Pass(self._classifier.classify(images), started, time.perf_counter())

    def _answer(self, batch: list[Waiting], done: Pass) -> None:
        """Hand each its row."""
        self._on_pass(len(batch))
        for waiting, *row in zip(batch, *done.answers, strict=False):  # rows of the padding are left over
            if not waiting.answer.done():
                waiting.answer.set_result(Classified(Answers(*row), done.started, done.ended, len(batch)))


@contextmanager
def _failing(batch: list[Waiting]) -> Iterator[None]:
    """Let whatever goes wrong be raised by those who wait for it, so that the next pass comes all the same."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  as above
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)
