"""Lets requests go to the service side by side, or one of them alone."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator


class Uplink:
    """What the threads of one client send through; whoever comes while one is alone or waits to be waits behind it."""

    def __init__(self) -> None:
        """Let whoever comes through."""
        self._door = threading.Lock()
        self._changed = threading.Condition()
        self._sending = 0

    @contextmanager
    def shared(self) -> Generator[None]:
        """Send beside others."""
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
        """Send once the others have been answered, while no other does."""
        with self._door:
            with self._changed:
                self._changed.wait_for(lambda: not self._sending)
            yield


class AsyncUplink:
    """The same for tasks."""

    def __init__(self) -> None:
        """Let whoever comes through."""
        self._door = asyncio.Lock()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._sending = 0

    @asynccontextmanager
    async def shared(self) -> AsyncGenerator[None]:
        """Send beside others."""
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
        """Send once the others have been answered, while no other does."""
        async with self._door:
            await self._is_idle.wait()
            yield
