"""Lets requests be sent to the service side by side, or one of them alone."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterable


class Turn:
    """The time in which one request is being sent.

    Attributes:
        is_alone: Whether no other was being sent at any moment of it.
    """

    def __init__(self, others: Iterable[Turn] = ()) -> None:
        """Begin beside others, which are no longer alone either."""
        self.is_alone = True
        for other in others:
            self.is_alone = other.is_alone = False


class Uplink:
    """Shared by the threads of one client; while one request is alone, or waits to be, later ones wait behind it."""

    def __init__(self) -> None:
        """Begin with nothing being sent."""
        self._door = threading.Lock()
        self._changed = threading.Condition()
        self._turns: set[Turn] = set()

    @contextmanager
    def shared(self) -> Generator[Turn]:
        """Send side by side with others."""
        with self._door, self._changed:
            self._turns.add(turn := Turn(self._turns))
        try:
            yield turn
        finally:
            with self._changed:
                self._turns.remove(turn)
                self._changed.notify()

    @contextmanager
    def alone(self) -> Generator[Turn]:
        """Send once all others have been answered, while nothing else is sent."""
        with self._door:
            with self._changed:
                self._changed.wait_for(lambda: not self._turns)
            yield Turn()


class AsyncUplink:
    """What `Uplink` is, for tasks."""

    def __init__(self) -> None:
        """Begin with nothing being sent."""
        self._door = asyncio.Lock()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._turns: set[Turn] = set()

    @asynccontextmanager
    async def shared(self) -> AsyncGenerator[Turn]:
        """Send side by side with others."""
        async with self._door:
            self._turns.add(turn := Turn(self._turns))
            self._is_idle.clear()
        try:
            yield turn
        finally:
            self._turns.remove(turn)
            if not self._turns:
                self._is_idle.set()

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[Turn]:
        """Send once all others have been answered, while nothing else is sent."""
        async with self._door:
            await self._is_idle.wait()
            yield Turn()
