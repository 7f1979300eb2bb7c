"""Measures the parts of the service without the server: one process for each core, nothing in between."""

from __future__ import annotations

import functools
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, islice, repeat
from multiprocessing import get_context
from typing import TYPE_CHECKING, Self

import numpy as np

from app.classifier import SavedModelClassifier
from app.imaging.native import read_native
from app.imaging.recognition import evidence_in, weigh
from training.data import LABELS
from training.pictures.upload import convert_upload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

    from numpy.typing import NDArray

BATCH = 32

_barrier: Barrier


class Alone:
    """Idle processes, one for each core, which load a model when they are first asked for it."""

    def __init__(self, processes: int) -> None:
        """Set up a pool of that many processes."""
        self._processes = processes
        context = get_context("spawn")  # not forked: TensorFlow's threads do not survive a fork
        self._pool = ProcessPoolExecutor(processes, context, _meet_at, (context.Barrier(processes),))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes."""
        self._pool.shutdown()

    def probabilities(self, artifact: Path, pictures: Sequence[bytes]) -> NDArray[np.float32]:
        """Return the artifact's probabilities for each picture, float32 `[n, 10]`."""
        return self._pool.submit(_probabilities, artifact, pictures).result()

    def classify(self, artifact: Path, pictures: Sequence[bytes], seconds: float) -> float:
        """Return how many pictures a second all processes together decode, convert and classify, in batches of 32."""
        return self._rate(_classify, artifact, pictures, seconds)

    def convert(self, pictures: Sequence[bytes], seconds: float) -> float:
        """Return how many pictures a second all processes together decode and convert."""
        return self._rate(_convert, pictures, seconds)

    def _rate(self, work: Callable[..., float], *arguments: object) -> float:
        return sum(one.result() for one in [self._pool.submit(work, *arguments) for _ in range(self._processes)])


def _meet_at(barrier: Barrier) -> None:
    """Keep the barrier at which the processes meet, so that none measures while another still loads."""
    global _barrier  # noqa: PLW0603  the pool's way to hand something to a process once
    _barrier = barrier


@functools.cache
def _model(artifact: Path) -> SavedModelClassifier:
    return SavedModelClassifier(artifact, (BATCH,), threads=1)


def _read(picture: bytes) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Return the model's input, as the service makes it, and the evidence in the colours if it is a photograph."""
    if (native := read_native(picture)) is not None:
        return native, None
    converted = convert_upload(picture)
    return converted.image, evidence_in(converted.colours, LABELS)


def _probabilities(artifact: Path, pictures: Sequence[bytes]) -> NDArray[np.float32]:
    classifier = _model(artifact)
    images, evidence = zip(*map(_read, pictures), strict=True)
    said = classifier.classify(np.stack(images)).probabilities
    return np.stack(list(map(weigh, said, evidence, repeat(classifier.card.photo_temperature))))


def _classify(artifact: Path, pictures: Sequence[bytes], seconds: float) -> float:
    turn = cycle(pictures)
    return BATCH * _repeat(lambda: _probabilities(artifact, list(islice(turn, BATCH))), seconds)


def _convert(pictures: Sequence[bytes], seconds: float) -> float:
    turn = cycle(pictures)
    return _repeat(lambda: _read(next(turn)), seconds)


def _repeat(work: Callable[[], object], seconds: float) -> float:
    """Return how many times a second something can be done while the other processes do the same."""
    work()  # the first call may have to load the model
    _barrier.wait()
    times, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        work()
        times += 1
    return times / passed
