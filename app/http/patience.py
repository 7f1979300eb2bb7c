"""Ends a request whose deadline has passed or whose client is gone."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, NamedTuple, Self

from starlette.requests import ClientDisconnect

from app.errors import RequestTimeoutError

if TYPE_CHECKING:
    from types import TracebackType

    from starlette.types import Receive

UNWATCHED_SECONDS = 0.1
"""A request that takes no longer is not worth a task that watches for the client's disconnect."""


class Deadline(NamedTuple):
    """When a request must be answered.

    Attributes:
        at: The time by the clock of the event loop.
        seconds: The time from the request's arrival to the deadline.
        most_seconds: The longest that the client could have asked for.
    """

    at: float
    seconds: float
    most_seconds: float

    @classmethod
    def after(cls, most_seconds: float, wished_seconds: float | None) -> Deadline:
        """Set a deadline counted from now: what the client wishes, up to the limit."""
        seconds = most_seconds if wished_seconds is None else min(wished_seconds, most_seconds)
        return cls(asyncio.get_running_loop().time() + seconds, seconds, most_seconds)


NEVER = Deadline(math.inf, math.inf, math.inf)


class Patience:
    """Cancels the task inside its `with` block once the deadline has passed or the client is gone.

    It costs a timer, a second one if it listens, and a task if the answer takes long enough for a client to leave.

    Raises:
        RequestTimeoutError: The deadline passed.
        ClientDisconnect: The client is gone.
    """

    __slots__ = ("_cancels_before", "_deadline", "_end", "_loop", "_task", "_timers", "_watch")

    _task: asyncio.Task[object]

    def __init__(self, deadline: Deadline) -> None:
        """Take the deadline."""
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._end: Exception | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._watch: asyncio.Task[None] | None = None

    def listen(self, receive: Receive) -> None:
        """Also watch for the client's disconnect; other messages are discarded, so the body must be read before."""
        self._timers.append(self._loop.call_later(UNWATCHED_SECONDS, self._watch_client, receive))

    def __enter__(self) -> Self:
        """Begin."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  for mypy: a `with` in a coroutine
        self._task = task
        self._cancels_before = task.cancelling()
        if self._deadline is not NEVER:
            self._timers.append(self._loop.call_at(self._deadline.at, self._give_up))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """End, and distinguish our own cancellation from any other, as `asyncio.timeout` does."""
        for timer in self._timers:
            timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
        end, self._end = self._end, None
        if end is not None and self._task.uncancel() <= self._cancels_before and kind is asyncio.CancelledError:
            try:
                raise end from error
            finally:
                # The traceback of `end` holds this frame, and its cause holds the frames with the body. Without this,
                # the reference cycle would keep them alive until the garbage collector runs.
                del end, error

    def _give_up(self) -> None:
        _, seconds, most_seconds = self._deadline
        msg = f"Expected an answer within {seconds:g} seconds, which have passed. Try again later"
        msg += f", or allow up to {most_seconds:g} with X-Request-Timeout." if seconds < most_seconds else "."
        self._stop(RequestTimeoutError(msg))

    def _watch_client(self, receive: Receive) -> None:
        self._watch = self._loop.create_task(self._wait_until_gone(receive))

    async def _wait_until_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._stop(ClientDisconnect())

    def _stop(self, end: Exception) -> None:
        """Cancel only once, since `__exit__` undoes only one cancellation."""
        if self._end is None:
            self._end = end
            self._task.cancel()
