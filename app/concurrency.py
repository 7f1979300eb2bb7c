"""Runs any number of pieces of work, a few at a time."""

from __future__ import annotations

import asyncio
from concurrent import futures
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable, Sequence

Work = TypeVar("Work")
Result = TypeVar("Result")

AHEAD = 2
"""Pieces taken for each that may run at a time, so that a slow one does not leave the others idle."""


def in_threads(
    run: Callable[[Work], Result],
    work: Iterable[Work],
    at_once: int,
    *,
    ordered: bool = True,
    has_ended: threading.Event | None = None,
) -> Generator[Result, None, None]:
    """Yield the result of each piece of work; further pieces are taken only as results are.

    However the iteration ends, it waits for the pieces under way, so that what they use may be closed afterwards. Only
    Ctrl-C while it waits for a result leaves them running.

    Args:
        run: Does one piece of work; an exception from it ends the iteration.
        work: Any number of pieces; iterated in the caller's thread.
        at_once: How many run at a time.
        ordered: Whether results come in the order of the work, or as soon as each is ready; none is yielded while
            waiting for the next piece.
        has_ended: Set once no further result is used, so that pieces that are waiting can stop.
    """
    running: list[futures.Future[Result]] = []

    def first_result() -> Result:
        done, _ = futures.wait(running[:1] if ordered else running, return_when=futures.FIRST_COMPLETED)
        first = done.pop()
        running.remove(first)
        return first.result()

    pool, waits = futures.ThreadPoolExecutor(at_once), True
    try:
        for piece in work:
            running.append(pool.submit(run, piece))
            while _is_there(running, ordered=ordered) or len(running) >= AHEAD * at_once:
                yield first_result()
        while running:
            yield first_result()
    except KeyboardInterrupt:
        waits = False
        raise
    finally:  # pieces not yet begun are dropped when the caller stops or a piece fails
        if has_ended:
            has_ended.set()
        pool.shutdown(wait=waits, cancel_futures=True)


async def in_tasks(
    run: Callable[[Work], Awaitable[Result]], work: AsyncIterator[Work], at_once: int, *, ordered: bool = True
) -> AsyncGenerator[Result, None]:
    """Do on the event loop what `in_threads` does in threads."""
    running: list[asyncio.Task[Result]] = []
    places = asyncio.Semaphore(at_once)

    async def run_in_a_place(piece: Work) -> Result:
        async with places:
            return await run(piece)

    async def first_result() -> Result:
        done, _ = await asyncio.wait(running[:1] if ordered else running, return_when=asyncio.FIRST_COMPLETED)
        first = done.pop()
        running.remove(first)
        return first.result()

    try:
        async for piece in work:
            running.append(asyncio.create_task(run_in_a_place(piece)))
            while _is_there(running, ordered=ordered) or len(running) >= AHEAD * at_once:
                yield await first_result()
        while running:
            yield await first_result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _is_there(running: Sequence[futures.Future[Result] | asyncio.Task[Result]], *, ordered: bool) -> bool:
    """Tell whether the next result is ready."""
    return any(one.done() for one in (running[:1] if ordered else running))
