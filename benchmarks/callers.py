"""Clients that each send a new request once the last is answered, and can wait as a refusal's `Retry-After` says."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import cycle
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHECKED = 20
"""One in this many accepted answers is parsed and compared; parsing all would take more time than asking."""

TOLERANCE = 1e-3
"""Largest allowed difference of a probability from the answer at rest: the order of sums depends on the batch."""

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: (\d+)\r\n", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: close\r\n", re.IGNORECASE)


@dataclass
class Seen:
    """What the clients of one load saw together.

    Attributes:
        seconds: How long the load was measured.
        milliseconds: How long each accepted request took.
        refusals: Number of answers with any status but 200, by status and seconds of `Retry-After`.
        failures: Number of broken connections, by cause.
        checked: Number of answers that were compared.
        wrong: Number of these that differed from the answer at rest.
    """

    seconds: float = 0.0
    milliseconds: list[float] = field(default_factory=list)
    refusals: Counter[tuple[int, int | None]] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    checked: int = 0
    wrong: int = 0

    @property
    def rate(self) -> float:
        """Accepted requests a second."""
        return len(self.milliseconds) / self.seconds

    def percentile(self, per_cent: float) -> float:
        """Return the milliseconds that this percentage of accepted requests did not exceed; NaN if there are none."""
        return float(np.percentile(self.milliseconds, per_cent)) if self.milliseconds else float("nan")


@dataclass(frozen=True, slots=True)
class Picture:
    """A request as it is sent, and the probabilities in its answer at rest."""

    request: bytes
    probabilities: tuple[float, ...]


class _Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._received = b""
        self._picture: Picture | None = None
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or not (length := _LENGTH.search(head + end)) or len(body) < int(length[1]):
            return
        picture, self._picture, self._received = self._picture, None, b""
        assert picture is not None  # noqa: S101  for mypy: nobody answers before being asked
        wait = self._load.take(picture, head + b"\r\n", body, time.perf_counter() - self._sent_at)
        if _CLOSES.search(head + b"\r\n") and self._transport:
            self._transport.close()
            self._load.reconnect(wait)
        else:
            self._load.loop.call_later(wait, self._ask) if wait else self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._picture is not None:
            self._load.lose(repr(error) if error else "closed without an answer")

    def _ask(self) -> None:
        if self._transport is None:  # closed while the client waited
            self._load.reconnect(0)
        elif not self._load.is_over:
            self._picture = next(self._load.pictures)
            self._sent_at = time.perf_counter()
            self._transport.write(self._picture.request)

    def close(self) -> None:
        """Abort the connection, even with a request open."""
        self._picture = None
        if self._transport is not None:
            self._transport.abort()


class Load:
    """A fixed number of concurrent clients."""

    def __init__(self, address: tuple[str, int], pictures: Sequence[Picture], *, patient: bool) -> None:
        """Set the address, the requests to repeat, and whether refused clients wait as long as they are told to."""
        self._address = address
        self._patient = patient
        self._callers: list[_Caller] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: Seen | None = None
        self.pictures: Iterator[Picture] = cycle(pictures)
        self.loop = asyncio.get_running_loop()
        self.is_over = False

    async def run(self, connections: int, warm_up_seconds: float, seconds: float) -> Seen:
        """Load the service, and return what the clients saw after the warm-up."""
        for _ in range(connections):
            await self._connect(0)
        await asyncio.sleep(warm_up_seconds)
        self._seen, started = Seen(), time.perf_counter()
        await asyncio.sleep(seconds)
        seen, self._seen, self.is_over = self._seen, None, True
        seen.seconds = time.perf_counter() - started
        for task in self._tasks:
            task.cancel()
        for caller in self._callers:
            caller.close()
        return seen

    def take(self, picture: Picture, head: bytes, body: bytes, seconds: float) -> float:
        """Record an answer, and return after how many seconds its client sends the next request."""
        status = int(head[9:12])
        retry_after = _RETRY_AFTER.search(head)
        wait = int(retry_after[1]) if retry_after else None
        if self._seen is not None:
            if status == HTTPStatus.OK:
                self._seen.milliseconds.append(1000 * seconds)
                if len(self._seen.milliseconds) % CHECKED == 0:
                    self._check(self._seen, picture, body)
            else:
                self._seen.refusals[status, wait] += 1
        return float(wait or 0) if self._patient else 0.0

    def lose(self, why: str) -> None:
        """Record a request or connection that failed, and reconnect."""
        if self._seen is not None:
            self._seen.failures[why] += 1
        self.reconnect(0.1)

    def reconnect(self, wait: float) -> None:
        """Open a new connection after that many seconds."""
        if not self.is_over:
            task = self.loop.create_task(self._connect(wait))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, wait: float) -> None:
        await asyncio.sleep(wait)
        try:
            _, caller = await self.loop.create_connection(lambda: _Caller(self), *self._address)
        except OSError as error:
            self.lose(repr(error))
        else:
            self._callers.append(caller)

    @staticmethod
    def _check(seen: Seen, picture: Picture, body: bytes) -> None:
        seen.checked += 1
        probabilities = [one["probability"] for one in json.loads(body)["probabilities"]]
        seen.wrong += not np.allclose(probabilities, picture.probabilities, rtol=0, atol=TOLERANCE)
