"""Threads and tasks behind one interface, since both make the same promises."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

import pytest

from app.concurrency import AHEAD, in_tasks, in_threads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator


class Run(Protocol):
    """Sleeps for each number of seconds, a few at a time, and returns the numbers in the order of the results."""

    def __call__(
        self, seconds: Iterable[float], at_once: int, *, ordered: bool, before: Callable[[float], None] = ...
    ) -> list[float]: ...


def nothing(_: float) -> None:
    pass


def run_in_threads(
    seconds: Iterable[float], at_once: int, *, ordered: bool, before: Callable[[float], None] = nothing
) -> list[float]:
    def sleep(duration: float) -> float:
        before(duration)
        time.sleep(duration)
        return duration

    return list(in_threads(sleep, seconds, at_once, ordered=ordered))


def run_in_tasks(
    seconds: Iterable[float], at_once: int, *, ordered: bool, before: Callable[[float], None] = nothing
) -> list[float]:
    async def sleep(duration: float) -> float:
        before(duration)
        await asyncio.sleep(duration)
        return duration

    async def each() -> AsyncIterator[float]:
        for duration in seconds:
            yield duration

    async def run() -> list[float]:
        return [one async for one in in_tasks(sleep, each(), at_once, ordered=ordered)]

    return asyncio.run(run())


@pytest.fixture(params=[run_in_threads, run_in_tasks], ids=["threads", "tasks"])
def run(request: pytest.FixtureRequest) -> Run:
    run: Run = request.param
    return run


def test_results_come_in_order_even_if_the_first_takes_longest(run: Run) -> None:
    assert run([0.3, 0, 0.1, 0], 4, ordered=True) == [0.3, 0, 0.1, 0]


def test_unordered_results_of_threads_come_as_they_complete() -> None:
    go_on = threading.Event()
    results = in_threads(lambda event: event and event.wait(30), [go_on, None, None], 2, ordered=False)
    assert [next(results), next(results)] == [None, None]
    go_on.set()
    assert list(results) == [True]


def test_unordered_results_of_tasks_come_as_they_complete() -> None:
    async def wait(event: asyncio.Event | None) -> bool | None:
        return await asyncio.wait_for(event.wait(), 30) if event else None

    async def run() -> None:
        go_on = asyncio.Event()

        async def work() -> AsyncIterator[asyncio.Event | None]:
            for event in (go_on, None, None):
                yield event

        async with aclosing(in_tasks(wait, work(), 2, ordered=False)) as results:
            assert [await anext(results), await anext(results)] == [None, None]
            go_on.set()
            assert await anext(results)

    asyncio.run(run())


def test_work_is_taken_only_as_results_are_used(run: Run) -> None:
    taken: list[float] = []
    begun: list[int] = []

    def work() -> Iterable[float]:
        for _ in range(20):
            taken.append(0)
            yield 0.01

    run(work(), 2, ordered=True, before=lambda _: begun.append(len(taken)))
    assert len(begun) == 20
    assert all(ahead - number <= AHEAD * 2 for number, ahead in enumerate(begun))


def test_a_piece_that_fails_raises_its_error_and_drops_the_rest(run: Run) -> None:
    begun: list[float] = []

    def fail_at_first(duration: float) -> None:
        begun.append(duration)
        if len(begun) == 1:
            msg = "no"
            raise LookupError(msg)

    with pytest.raises(LookupError):
        run([0.05] * 50, 2, ordered=True, before=fail_at_first)
    assert len(begun) <= AHEAD * 2


def test_after_an_early_stop_what_the_threads_use_may_be_closed() -> None:
    begun: list[float] = []
    ended: list[float] = []

    def sleep(seconds: float) -> None:
        begun.append(seconds)
        time.sleep(seconds)
        ended.append(seconds)

    results = in_threads(sleep, [0, 0.2, 0.3, 0.4], 2)
    next(results)
    results.close()
    assert sorted(begun) == sorted(ended)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_result_does_not_wait_for_a_slow_source(*, ordered: bool) -> None:
    taken: list[int] = []

    def slow() -> Iterator[int]:
        for number in range(50):
            time.sleep(0.1)
            taken.append(number)
            yield number

    first_of_all = next(in_threads(str, slow(), 30, ordered=ordered))
    assert first_of_all == "0" or not ordered  # on a slow machine more than one may be ready
    assert len(taken) < 50  # not 1: a busy machine may be late

    async def slow_too() -> AsyncIterator[int]:
        for number in range(50):
            await asyncio.sleep(0.1)
            taken.append(number)
            yield number

    async def text(number: int) -> str:
        return str(number)

    async def first() -> tuple[str, int]:
        async with aclosing(in_tasks(text, slow_too(), 30, ordered=ordered)) as results:
            return await anext(results), len(taken)

    taken.clear()
    first_of_all, taken_before = asyncio.run(first())
    assert first_of_all == "0" or not ordered  # as above
    assert taken_before < 50


def test_ctrl_c_waits_for_no_thread() -> None:
    is_over = threading.Event()
    results = in_threads(is_over.wait, [0, 30, 30], 2)
    next(results)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt())
    assert time.monotonic() - started < 10
    is_over.set()


def test_a_waiting_thread_is_told_when_nobody_uses_its_result() -> None:
    has_ended = threading.Event()

    def wait(seconds: float) -> bool:
        return has_ended.wait(seconds)

    results = in_threads(wait, [0, 30, 30], 2, has_ended=has_ended)
    assert next(results) is False
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 10
