"""Holds back clients that retry sooner than a refusal told them to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

PAUSE_SECONDS = 1.0
"""How long after a refusal the next request is held back; every refusal asks for at least this long."""

MOST_REMEMBERED = 10_000


class Pacing:
    """Remembers which clients were refused, so that each is refused at most once a second.

    Clients that retry at once would otherwise be refused thousands of times a second. Each refusal costs a good part of
    what an answer costs, so the service would have little time left to answer anybody.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a clock in seconds."""
        self._clock = clock
        self._back_at: dict[Hashable, float] = {}

    def refuse(self, asker: Hashable) -> None:
        """Note when a refused client may come back."""
        now = self._clock()
        if len(self._back_at) >= MOST_REMEMBERED:
            self._back_at = {who: at for who, at in self._back_at.items() if at > now}
            if len(self._back_at) >= MOST_REMEMBERED:
                self._back_at.clear()
        self._back_at[asker] = now + PAUSE_SECONDS

    def take_seconds_too_soon(self, asker: Hashable) -> float:
        """Return how much too soon a client is back, once per refusal; 0 if it was not refused or has waited."""
        return max(0.0, self._back_at.pop(asker, 0.0) - self._clock())
