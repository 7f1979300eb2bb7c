"""Does one thing to many items on all cores."""

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
"""Items that a process is given at a time; no more than these are not worth one."""


def on_all_cores(work: Callable[[Item], Result], items: Sequence[Item], name: str) -> list[Result]:
    """Return the results in the order of the items, showing how far it is.

    Args:
        work: What to do; it and the items travel to other processes.
        items: What to do it to.
        name: What they are.
    """
    if len(items) <= PIECE:
        return [work(item) for item in items]
    # Spawned, not forked: TensorFlow's threads do not survive a fork.
    with ProcessPoolExecutor(available_cores(), get_context("spawn")) as pool:
        return list(tqdm(pool.map(work, items, chunksize=PIECE), total=len(items), unit=f" {name}"))
