"""Gathers the images of many requests into one forward pass."""

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
"""A shorter forward pass runs on the event loop, since a thread would cost more than it saves. A longer one would delay
health checks and small pictures there."""

UNPADDED = 32
"""A batch of this many images or fewer is never padded."""

_PADDING = np.zeros(IMAGE_SHAPE, np.uint8)


class Classified(NamedTuple):
    """The answer for one image, and the pass that gave it.

    Attributes:
        answer: One row of `Answers`.
        started: When the pass began, by `time.perf_counter`.
        ended: When the pass ended, by the same clock.
        images: Number of images in the pass, padding excluded.
    """

    answer: Answers
    started: float
    ended: float
    images: int


class Waiting(NamedTuple):
    """An image, uint8 `[28, 28]`, and the future of its answer."""

    image: NDArray[np.uint8]
    answer: asyncio.Future[Classified]


class Pass(NamedTuple):
    """A finished forward pass: `Answers` for all rows, and when it ran, by `time.perf_counter`."""

    answers: Answers
    started: float
    ended: float


def batch_sizes(most: int) -> tuple[int, ...]:
    """Return the sizes that batches are padded to: every small size, then steps that keep padding to a ninth at most.

    The first batch of a size is slow, so each is run before the service is ready. That takes time, so sizes are few.
    """
    sizes = [1]
    while (last := sizes[-1]) < most:
        sizes.append(last + 1 if last < UNPADDED else min(most, last * 9 // 8))
    return tuple(sizes)


class MicroBatcher:
    """Runs one forward pass at a time, and gathers what arrives meanwhile for the next.

    No image waits on a timer. One that arrives while no pass runs is joined by what the event loop brings, turn by
    turn, and the pass starts once a turn brings nothing more. A cheap pass runs on the loop and any other in a thread,
    depending on the time that the classifier states. After a pass in a thread, the loop first delivers the answers and
    looks once for the requests that follow them. Otherwise the clients would split into two halves, one of which always
    waits while the other is computed.

    Attributes:
        running_since: When the pass now running in the thread began, by `time.monotonic`; None if none is running.
    """

    def __init__(
        self, classifier: Classifier, max_batch: int, on_pass: Callable[[int], object] = lambda _: None
    ) -> None:
        """Take the classifier, the most images in a pass, and a callback for the number of images in each pass."""
        self._on_pass = on_pass
        self._classifier = classifier
        self._sizes = batch_sizes(max_batch)
        self._waiting: deque[Waiting] = deque()
        self._busy = False
        self.running_since: float | None = None
        # A thread of its own: decoding could fill a shared executor.
        self._thread = ThreadPoolExecutor(1, "forward-pass")

    async def classify(self, image: NDArray[np.uint8]) -> Classified:
        """Classify one image, uint8 `[28, 28]`.

        Cancelling drops the image if it is still waiting.
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
        """Let a running pass finish, then release the thread."""
        self._thread.shutdown()

    def _gather(self, seen: int) -> None:
        """Start a pass once a turn of the event loop has brought no further image, or enough to fill the pass."""
        waiting = len(self._waiting)
        if seen < waiting < self._sizes[-1]:
            asyncio.get_running_loop().call_soon(self._gather, waiting)
        else:
            self._next()

    def _next(self) -> None:
        """Start a pass with the waiting images, if there are any."""
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
        # Not at once, so that what arrived meanwhile joins what is already waiting.
        loop.call_soon(self._gather, len(self._waiting))

    def _finish(self, batch: list[Waiting], done: asyncio.Future[Pass]) -> None:
        self.running_since = None
        with _failing(batch):
            self._answer(batch, done.result())
        # The answers go out in the next turn; requests that follow them come one turn later, and join those waiting.
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
        """Stack the images and pad them to a size that was warmed up; the answers of the padding are not used."""
        size = next(size for size in self._sizes if size >= len(batch))
        images = [waiting.image for waiting in batch] + [_PADDING] * (size - len(batch))
        return np.concatenate(images).reshape(size, *IMAGE_SHAPE)

    def _run(self, images: NDArray[np.uint8]) -> Pass:
        started = time.perf_counter()
        return Pass(self._classifier.classify(images), started, time.perf_counter())

    def _answer(self, batch: list[Waiting], done: Pass) -> None:
        """Hand each waiting image its row of the answers."""
        self._on_pass(len(batch))
        for waiting, *row in zip(batch, *done.answers, strict=False):  # rows of the padding are left over
            if not waiting.answer.done():
                waiting.answer.set_result(Classified(Answers(*row), done.started, done.ended, len(batch)))


@contextmanager
def _failing(batch: list[Waiting]) -> Iterator[None]:
    """Raise any exception where the answers are awaited instead of here, so that the next pass still runs."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  as above
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)
