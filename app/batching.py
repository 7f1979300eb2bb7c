"""Gathers images of many requests into one forward pass."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from app.classifier import Answers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.classifier import Classifier

    Waiting = tuple[NDArray[np.uint8], asyncio.Future[Answers]]
    """An image, uint8 `[28, 28]`, and who waits for its answer."""


def batch_sizes(most: int) -> tuple[int, ...]:
    """Return the sizes that batches are padded to: powers of two, and the largest itself."""
    powers = [2**exponent for exponent in range(most.bit_length()) if 2**exponent < most]
    return (*powers, most)


class MicroBatcher:
    """Runs one forward pass at a time; while it runs, what arrives is gathered for the next.

    Nothing ever waits on purpose: an image that arrives while no pass runs goes with what else this turn of the event
    loop brings.
    """

    def __init__(self, classifier: Classifier, max_batch: int) -> None:
        """Take the classifier to call and the most images of one pass."""
        self._classifier = classifier
        self._sizes = batch_sizes(max_batch)
        self._waiting: deque[Waiting] = deque()
        self._running: asyncio.Task[None] | None = None
        # Not the loop's own executor: decoding may fill that.
        self._thread = ThreadPoolExecutor(1, "forward-pass")

    async def classify(self, image: NDArray[np.uint8]) -> Answers:
        """Classify one image, uint8 `[28, 28]`, into one row of `Answers`.

        Cancelling drops an image that still waits.
        """
        answer: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
        self._waiting.append((image, answer))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await answer

    def close(self) -> None:
        """Let the pass that runs finish and release its thread."""
        self._thread.shutdown()

    async def _run(self) -> None:
        try:
            while batch := self._take():
                images = np.stack([image for image, _ in batch])
                try:
                    answers = await asyncio.get_running_loop().run_in_executor(self._thread, self._classify, images)
                except Exception as error:  # noqa: BLE001  belongs to those who wait for it, who raise it
                    self._fail(batch, error)
                else:
                    for number, (_, answer) in enumerate(batch):
                        if not answer.done():
                            answer.set_result(Answers(*(of_all[number] for of_all in answers)))
        finally:
            self._running = None

    def _take(self) -> list[Waiting]:
        batch: list[Waiting] = []
        while self._waiting and len(batch) < self._sizes[-1]:
            image, answer = self._waiting.popleft()
            if not answer.done():
                batch.append((image, answer))
        return batch

    def _classify(self, images: NDArray[np.uint8]) -> Answers:
        """Pad to one of the sizes that were warmed up, so that rows at the end are for no one; runs in the thread."""
        size = next(size for size in self._sizes if size >= len(images))
        padding = np.zeros((size - len(images), *images.shape[1:]), np.uint8)
        return self._classifier.classify(np.concatenate([images, padding]))

    @staticmethod
    def _fail(batch: list[Waiting], error: Exception) -> None:
        for _, answer in batch:
            if not answer.done():
                answer.set_exception(error)
