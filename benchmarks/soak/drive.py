"""Sends requests: as many as are answered, or so many a second whatever is answered."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.soak.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.soak.connection import Answer
    from benchmarks.soak.mix import Request

MOST_CONNECTIONS = 256
"""Of an open load; what cannot be sent over one of them waits, and its time counts."""


@dataclass(slots=True)
class Tally:
    """What a span of time brought.

    Attributes:
        milliseconds: How long each answer took, from when it was due to be asked for.
        right: Answers that were as expected.
        overloaded: Honest refusals: 503 with a `Retry-After`.
        hung_up: Requests that were left in the middle.
        faults: What else came, and how often: wrong answers, other 5xx, lost connections.
    """

    milliseconds: list[float] = field(default_factory=list)
    right: int = 0
    overloaded: int = 0
    hung_up: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def answered(self) -> int:
        """Number of answers, right or not."""
        return len(self.milliseconds)

    def percentile(self, share: float) -> float:
        """Return the milliseconds that this per cent of the answers took at most; 0 where there was none."""
        return float(np.percentile(self.milliseconds, share)) if self.milliseconds else 0.0

    def judge(self, sent: Request, answer: Answer, milliseconds: float) -> None:
        """Count an answer."""
        self.milliseconds.append(milliseconds)
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE and answer.headers.get("retry-after", "").isdecimal():
            self.overloaded += 1
        elif sent.is_right and _is_right(sent, answer):
            self.right += 1
        else:
            self.faults[f"{sent.kind}: {answer.status}, {answer.body[:120]!r}"] += 1


async def ask(connection: Connection, sent: Request, due: float, tally: Tally) -> None:
    """Send one request and count what comes of it."""
    try:
        if sent.is_right is None:
            await connection.hang_up(sent.sent)
            tally.hung_up += 1
            return
        answer = await connection.ask(sent.sent)
        tally.judge(sent, answer, 1000 * (time.perf_counter() - due))
        if sent.leaves:
            connection.close()
    except OSError as error:
        tally.faults[f"{sent.kind}: {error!r}"] += 1


async def closed_load(port: int, requests: Iterable[Request], connections: int, seconds: float) -> Tally:
    """Keep connections busy: each asks as soon as it was answered."""
    tally, end = Tally(), time.perf_counter() + seconds
    turn = iter(requests)

    async def keep_asking() -> None:
        connection = Connection(port)
        while (now := time.perf_counter()) < end:
            await ask(connection, next(turn), now, tally)
        connection.close()

    await asyncio.gather(*(keep_asking() for _ in range(connections)))
    return tally


class OpenLoad:
    """Asks at a steady rate, however long answers take: as the world does, and so that a stall shows in every answer.

    Attributes:
        tally: What came since it was last taken.
    """

    def __init__(self, port: int, requests: Iterable[Request], rate: float) -> None:
        """Take the port, what to send, and how much a second."""
        self.tally = Tally()
        self._port = port
        self._requests = iter(requests)
        self._rate = rate
        self._idle: deque[Connection] = deque(Connection(port) for _ in range(MOST_CONNECTIONS))
        self._free = asyncio.Semaphore(MOST_CONNECTIONS)
        self._open: set[asyncio.Task[None]] = set()

    def take(self) -> Tally:
        """Return the tally, and begin another."""
        taken, self.tally = self.tally, Tally()
        return taken

    async def run(self, seconds: float) -> None:
        """Ask for so long, then wait for the answers."""
        started = time.perf_counter()
        for number in range(round(seconds * self._rate)):
            due = started + number / self._rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            await self._free.acquire()
            task = asyncio.create_task(self._ask(next(self._requests), due))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        await asyncio.gather(*self._open)
        for connection in self._idle:
            connection.close()

    async def _ask(self, sent: Request, due: float) -> None:
        connection = self._idle.pop()  # the one used last, so that few are open
        try:
            await ask(connection, sent, due, self.tally)
        finally:
            self._idle.append(connection)
            self._free.release()


def _is_right(sent: Request, answer: Answer) -> bool:
    try:
        return bool(sent.is_right and sent.is_right(answer))
    except (ValueError, KeyError, TypeError):  # not even of the shape that is judged
        return False
