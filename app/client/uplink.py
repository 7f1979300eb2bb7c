"""Lets requests be sent to the service side by side, or one of them alone."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator


class Uplink:
    """Shared by the threads of one client; while one request is alone, or waits to be, later ones wait behind it."""

    def __init__(self) -> None:
        """Begin with nothing being sent."""
        self._door = threading.Lock()
        self._changed = threading.Condition()
        self._sending = 0

    @contextmanager
    def shared(self) -> Generator[None]:
        """Send side by side with others."""
        with self._door, self._changed:
            self._sending += 1
        try:
            yield
        finally:
            with self._changed:
                self._sending -= 1
                self._changed.notify()

    @contextmanager
    def alone(self) -> Generator[None]:
        """Send once all others have been answered, while nothing else is sent."""
        with self._door:
            with self._changed:
                self._changed.wait_for(lambda: not self._sending)
            yield


class AsyncUplink:
    """What `Uplink` is, for tasks."""

    def __init__(self) -> None:
        """Begin with nothing being sent."""
        self._door = asyncio.Lock()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._sending = 0

    @asynccontextmanager
    async def shared(self) -> AsyncGenerator[None]:
        """Send side by side with others."""
        async with self._door:
            self._sending += 1
            self._is_idle.clear()
        try:
            yield
        finally:
            self._sending -= 1
            if not self._sending:
                self._is_idle.set()

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """Send once all others have been answered, while nothing else is sent."""
        async with self._door:
            await self._is_idle.wait()
            yield
