"""Sends requests, either as fast as they are answered or at a fixed rate."""

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
"""Connections of an open load. A request that finds none free waits, and its time counts from when it was due."""


@dataclass(slots=True)
class Tally:
    """What was observed over a span of time.

    Attributes:
        milliseconds: How long each answer took, from when its request was due.
        right: Answers that were as expected.
        overloaded: Honest refusals: 503 with a `Retry-After`.
        hung_up: Requests that were abandoned halfway.
        faults: Everything else, and how often: wrong answers, other 5xx, lost connections.
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
        """Return the milliseconds that this percentage of answers did not exceed; 0 if there are none."""
        return float(np.percentile(self.milliseconds, share)) if self.milliseconds else 0.0

    def judge(self, sent: Request, answer: Answer, milliseconds: float) -> None:
        """Check an answer, and count it."""
        self.milliseconds.append(milliseconds)
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE and answer.headers.get("retry-after", "").isdecimal():
            self.overloaded += 1
        elif sent.is_right and _is_right(sent, answer):
            self.right += 1
        else:
            self.faults[f"{sent.kind}: {answer.status}, {answer.body[:120]!r}"] += 1


async def ask(connection: Connection, sent: Request, due: float, tally: Tally) -> None:
    """Send one request, and count its outcome."""
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
    """Keep connections busy: each sends its next request as soon as the last is answered."""
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
    """Sends at a steady rate however long answers take, as real clients do, so that a stall shows in every answer.

    Attributes:
        tally: What was observed since it was last taken.
    """

    def __init__(self, port: int, requests: Iterable[Request], rate: float) -> None:
        """Set the port, the requests to send, and how many a second."""
        self.tally = Tally()
        self._port = port
        self._requests = iter(requests)
        self._rate = rate
        self._idle: deque[Connection] = deque(Connection(port) for _ in range(MOST_CONNECTIONS))
        self._free = asyncio.Semaphore(MOST_CONNECTIONS)
        self._open: set[asyncio.Task[None]] = set()

    def take(self) -> Tally:
        """Return the tally, and start a new one."""
        taken, self.tally = self.tally, Tally()
        return taken

    async def run(self, seconds: float) -> None:
        """Send requests for that many seconds, then wait for the answers."""
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
        connection = self._idle.pop()  # the most recently used one, so that few are open
        try:
            await ask(connection, sent, due, self.tally)
        finally:
            self._idle.append(connection)
            self._free.release()


def _is_right(sent: Request, answer: Answer) -> bool:
    try:
        return bool(sent.is_right and sent.is_right(answer))
    except (ValueError, KeyError, TypeError):  # not even of the expected shape
        return False
