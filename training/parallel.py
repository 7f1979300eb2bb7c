"""Applies a function to many items on all cores."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from app.cores import available_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

PIECE = 32
"""Number of items passed to a process at a time; up to this many are not worth starting a process."""


def on_all_cores(work: Callable[[Item], Result], items: Sequence[Item], name: str) -> list[Result]:
    """Return the results in the order of the items, with a progress bar.

    Args:
        work: Function to apply; it and the items are pickled for other processes.
        items: Arguments of the function.
        name: What the items are called in the progress bar.
    """
    if len(items) <= PIECE:
        return [work(item) for item in items]
    # Spawned, not forked: TensorFlow's threads do not survive a fork.
    with ProcessPoolExecutor(available_cores(), get_context("spawn")) as pool:
        return list(tqdm(pool.map(work, items, chunksize=PIECE), total=len(items), unit=f" {name}"))
