"""Decides which pictures are taken on: so many at a time, and no more than can be done soon."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

from app.errors import OverloadedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

SMALL = 1.0
"""The work of a picture that is decoded on the event loop, by which any other is counted."""

RATE_SECONDS = 4.0
"""After so many seconds of work, what was measured before counts half."""

FIRST_SECONDS = 0.5
"""So many seconds of work have to be measured before they say anything: a burst that finds the service idle would take
the wait for its first forward pass for the time of each picture."""


def work_of(encoded_bytes: int, pixels: int = 0) -> float:
    """Return how many small pictures one takes as long as that a thread decodes.

    A photograph of 40 kB takes about 9 times as long as a small picture, one of 3 MB 24 times (docs/results.md, a
    forward pass added), and where all pixels have to be decoded each million takes about 25 times as long: 38 bytes of
    WebP may hold 50. What it misses, the measured rate mends.

    Args:
        encoded_bytes: Of the file.
        pixels: As `app.imaging.decode.declared_pixels` says.
    """
    return 9 + encoded_bytes / 200_000 + 25 * pixels / 1e6


class Admission:
    """Counts the work taken on, and refuses more than its limits with an honest time to come back.

    It measures what it promises: the time in which anything was pending, over the work that was finished in it. A rate
    that no longer holds refuses nobody for long, because where nothing is pending the next picture is always taken on.
    """

    def __init__(
        self,
        max_pictures: int,
        max_seconds: float,
        deadline_seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the limits.

        Args:
            max_pictures: The most at a time.
            max_seconds: The most that a picture may have to wait for those before it.
            deadline_seconds: After which all that is pending now is answered or dropped.
            clock: Tells seconds.
        """
        self._clock = clock
        self._max_pictures = max_pictures
        self._max_seconds = max_seconds
        self._deadline_seconds = deadline_seconds
        self._taken_on: dict[Permit, float] = {}
        self._work = 0.0
        self._counted_until = 0.0
        self._busy_seconds = 0.0
        self._finished_work = 0.0

    def require_place(self) -> None:
        """Refuse where nothing can be taken on.

        Raises:
            OverloadedError: All places are taken, or the work before it would take too long.
        """
        if len(self._taken_on) >= self._max_pictures:
            msg = f"Expected at most {self._max_pictures} pictures at a time, received one more. Try again later."
            raise OverloadedError(msg, self.retry_after_seconds)
        if self.expected_seconds > self._max_seconds:
            msg = f"Expected at most {self._max_seconds:g} seconds of work before a picture, found "
            msg += f"{self.expected_seconds:.1f}. Try again later."
            raise OverloadedError(msg, self.retry_after_seconds)

    def permit(self, work: float) -> Permit:
        """Take a place for one picture; nothing is awaited, so a burst admits exactly the limit.

        Args:
            work: `SMALL`, or as `work_of` says.

        Returns:
            What gives the place back at the end of a `with`.

        Raises:
            OverloadedError: As `require_place`.
        """
        self.require_place()
        permit = Permit(self, work)
        self._taken_on[permit] = self._clock()
        self._work += work
        return permit

    @property
    def pending(self) -> int:
        """Pictures taken on and not yet answered."""
        return len(self._taken_on)

    @property
    def oldest(self) -> float | None:
        """When the first of them was taken on, by the clock."""
        return next(iter(self._taken_on.values()), None)

    @property
    def expected_seconds(self) -> float:
        """Seconds until what is pending is done, at the rate measured last; 0 before enough is measured."""
        if not self._taken_on or not self._finished_work or self._busy_seconds < FIRST_SECONDS:
            return 0.0
        return self._work * self._busy_seconds / self._finished_work

    @property
    def retry_after_seconds(self) -> int:
        """The same in whole seconds, at least one, and no more than until all of it is dropped."""
        return max(1, math.ceil(min(self.expected_seconds, self._deadline_seconds)))

    def give_back(self, permit: Permit, *, finished: bool) -> None:
        """End what `permit` began.

        Args:
            permit: What it returned.
            finished: Whether it was done, and so says something of the rate; False where it was dropped.
        """
        if finished:
            self._count(permit.work)
        del self._taken_on[permit]
        self._work = self._work - permit.work if self._taken_on else 0.0  # so that no rounding adds up

    def _count(self, work: float) -> None:
        """Count finished work, with the time that passed since the last was counted."""
        now, oldest = self._clock(), next(iter(self._taken_on.values()))
        # Before the oldest of those that were not dropped came, there was nothing to do or only what came to nothing.
        self._busy_seconds += now - max(self._counted_until, oldest)
        self._counted_until = now
        self._finished_work += work
        if self._busy_seconds > RATE_SECONDS:
            self._busy_seconds /= 2
            self._finished_work /= 2


class Permit:
    """A place, for the length of a `with`."""

    __slots__ = ("_admission", "work")

    def __init__(self, admission: Admission, work: float) -> None:
        """Take where the place is given back to."""
        self._admission = admission
        self.work = work

    def __enter__(self) -> None:
        """Hold it."""

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        """Give it back."""
        self._admission.give_back(self, finished=kind is not asyncio.CancelledError)
