"""Classifies pictures in this process, without a server: `python -m app predict`."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from concurrent import futures
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.arguments import STANDARD_INPUT
from app.concurrency import in_tasks
from app.cores import available_cores
from app.errors import ServiceError
from app.http.uploads import require_size
from app.imaging.conversion import Mode
from app.imaging.decode import RAW_MEDIA_TYPE
from app.outcomes import Outcome
from app.predictor import Predictor, load_classifier
from app.schemas import Prediction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from app.commands.tabulate import Listing
    from app.schemas import Conversion
    from app.settings import Settings


def predict(names: Sequence[str], conversion: Conversion, settings: Settings, listing: Listing) -> None:
    """Classify each file, and list the outcomes in order.

    Args:
        names: Paths, or `-` for standard input.
        conversion: How to convert the pictures.
        settings: The service's, of which the model and the limits matter here.
        listing: Where the outcomes go.

    Raises:
        StartError: The model, or a network beside it, cannot be loaded, or was not fitted for the coverage asked for.
    """
    cores = available_cores()
    with _quiet():
        classifier = load_classifier(settings, cores)
    # Nobody else is waiting, so no picture is refused because of those before it.
    predictor = Predictor(classifier, settings.model_copy(update={"max_queue_seconds": math.inf}), cores)
    try:
        asyncio.run(predict_with(predictor, names, Mode(conversion), settings, listing))
    finally:
        predictor.close()


async def predict_with(
    predictor: Predictor, names: Sequence[str], mode: Mode, settings: Settings, listing: Listing
) -> None:
    """Do the same with a predictor that is already loaded, for several pictures at a time."""
    at_once = min(2 * settings.max_forward_images, settings.max_pending_images)  # enough for the next forward pass
    readers = futures.ThreadPoolExecutor()  # at Ctrl-C, asyncio would wait for its own until standard input ends
    try:
        answer = partial(_outcome, predictor, mode, readers, settings.max_body_bytes)
        async for outcome in in_tasks(answer, _each(names), at_once):
            listing.add(outcome.picture, outcome)
    finally:
        readers.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what TensorFlow's C++ code writes to standard error while it loads, regardless of its log level."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


async def _outcome(
    predictor: Predictor, mode: Mode, readers: futures.Executor, max_bytes: int, name: str
) -> Outcome[str]:
    try:
        # One byte beyond the limit is enough to show that a file is too large.
        data = await asyncio.get_running_loop().run_in_executor(readers, _read, name, max_bytes + 1)
        require_size(data, max_bytes)
        return Outcome(name, Prediction.model_validate(await predictor.predict(data, RAW_MEDIA_TYPE, mode)))
    except (OSError, ServiceError) as error:
        return Outcome(name, error=error)
    except Exception as error:  # noqa: BLE001  a failure of ours at one picture costs no other its answer
        return Outcome(name, error=ServiceError(f"The service failed at this picture: {error!r}."))


def _read(name: str, max_bytes: int) -> bytes:
    if name == STANDARD_INPUT:
        return sys.stdin.buffer.read(max_bytes)
    with Path(name).open("rb") as file:
        return file.read(max_bytes)


async def _each(names: Iterable[str]) -> AsyncIterator[str]:
    for name in names:
        yield name
