"""Makes those wait who ask again sooner than a refusal told them to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

PAUSE_SECONDS = 1.0
"""How long after a refusal a request is held back; a refusal asks for as much at least."""

MOST_REMEMBERED = 10_000


class Pacing:
    """Remembers who was refused, so that a refusal cannot be had more than once a second.

    Clients that ask again at once would otherwise be refused thousands of times a second, each time for a good part of
    what an answer costs, and leave the service little time to answer anybody.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take what tells seconds."""
        self._clock = clock
        self._back_at: dict[Hashable, float] = {}

    def refuse(self, asker: Hashable) -> None:
        """Note when somebody was told to come back."""
        now = self._clock()
        if len(self._back_at) >= MOST_REMEMBERED:
            self._back_at = {who: at for who, at in self._back_at.items() if at > now}
            if len(self._back_at) >= MOST_REMEMBERED:
                self._back_at.clear()
        self._back_at[asker] = now + PAUSE_SECONDS

    def take_seconds_too_soon(self, asker: Hashable) -> float:
        """Return how much too soon somebody is back, once for each refusal; 0 who was not refused or has waited."""
        return max(0.0, self._back_at.pop(asker, 0.0) - self._clock())
