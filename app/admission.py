"""Decides which pictures to admit: a limited number at a time, and no more work than can be done soon."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Self

from app.errors import OverloadedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

SMALL = 1.0
"""The work of a picture small enough to be decoded on the event loop: the unit for all other work."""

RATE_SECONDS = 4.0
"""After this many busy seconds, the measurements so far are halved, so that newer ones count for more."""

FIRST_SECONDS = 0.5
"""Busy seconds to measure before the rate is used. Without this minimum, a burst that finds the service idle would
mistake the wait for its first forward pass for the time of each picture."""


def work_of(encoded_bytes: int, pixels: int = 0) -> float:
    """Return the work of a picture that is decoded in a thread, in small pictures.

    A 40 kB photograph takes about 9 times as long as a small picture, a 3 MB one 24 times (docs/results.md, plus a
    forward pass). Where every pixel has to be decoded, each million adds the work of about 25 small pictures: 38 bytes
    of WebP may hold 50 million. The measured rate corrects for what this estimate misses.

    Args:
        encoded_bytes: Size of the file.
        pixels: As returned by `app.imaging.decode.declared_pixels`.
    """
    return 9 + encoded_bytes / 200_000 + 25 * pixels / 1e6


class Admission:
    """Counts admitted work, and refuses more than its limits with a realistic time to try again.

    That time is based on a measured rate: the work finished, over the time in which anything was pending. A stale rate
    does not refuse pictures for long, because the next picture is always admitted when nothing is pending.
    """

    def __init__(
        self,
        max_pictures: int,
        max_seconds: float,
        deadline_seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set the limits.

        Args:
            max_pictures: Most pictures admitted at a time.
            max_seconds: Longest time that a picture may have to wait for those before it.
            deadline_seconds: Time after which everything pending now has been answered or dropped.
            clock: Returns the time in seconds.
        """
        self._clock = clock
        self._max_pictures = max_pictures
        self._max_seconds = max_seconds
        self._deadline_seconds = deadline_seconds
        self._taken_on: dict[Permit, float] = {}
        self._lines: set[Line] = set()
        self._work = 0.0
        self._counted_until = 0.0
        self._busy_seconds = 0.0
        self._finished_work = 0.0
        self._first_in_line = asyncio.Lock()
        self._freed = asyncio.Event()

    def require_place(self) -> None:
        """Raise an error if no picture can be admitted.

        Raises:
            OverloadedError: All places are taken, or the pending work would take too long.
        """
        if len(self._taken_on) >= self._max_pictures:
            msg = f"Expected at most {self._max_pictures} pictures at a time, received one more. Try again later."
            raise OverloadedError(msg, self.retry_after_seconds)
        self._require_time()

    def permit(self, work: float, certain: float | None = None) -> Permit:
        """Take a place for one picture; nothing is awaited, so exactly the limit is admitted in a burst.

        Args:
            work: `SMALL`, or the result of `work_of`.
            certain: What of it does not rest on what the file says about itself; by default all.

        Returns:
            A context manager that gives the place back on exit.

        Raises:
            OverloadedError: As for `require_place`.
        """
        self.require_place()
        return self._take(work, certain)

    def line_up(self, works: Sequence[float]) -> Line:
        """Let the pictures of a batch wait for places; nothing is awaited, so that the next batch finds them in line.

        Args:
            works: The work of each, as for `permit`.

        Returns:
            A context manager in which each gets its permit.

        Raises:
            OverloadedError: The pending work would take too long; that all places are taken is no reason.
        """
        self._require_time()
        return Line(self, works)

    @property
    def pending(self) -> int:
        """Pictures admitted and not yet answered, and those in line."""
        return len(self._taken_on) + sum(line.pictures for line in self._lines)

    @property
    def oldest(self) -> float | None:
        """When the oldest pending picture was admitted, by the clock; None if none is pending."""
        return next(iter(self._taken_on.values()), None)

    @property
    def expected_seconds(self) -> float:
        """Seconds until all pending work is done, at the measured rate; 0 until enough has been measured."""
        return self._seconds(self._work + sum(line.work for line in self._lines))

    @property
    def retry_after_seconds(self) -> int:
        """`expected_seconds` rounded up, at least 1 and at most the deadline, by which pending work is dropped."""
        return max(1, math.ceil(min(self.expected_seconds, self._deadline_seconds)))

    def give_back(self, permit: Permit, end: type[BaseException] | None) -> None:
        """Give back the place of a permit.

        Args:
            permit: What `permit` returned.
            end: What ended the work before its end, if anything did.
        """
        if end is not asyncio.CancelledError:  # dropped work was not done
            self._count(permit.work if end is None else self._done_before_refusal(permit))
        del self._taken_on[permit]
        self._work = self._work - permit.work if self._taken_on else 0.0  # so that rounding errors do not add up
        self._freed.set()

    def enter(self, line: Line) -> None:
        """Count the pictures of a batch as pending."""
        self._lines.add(line)

    def leave(self, line: Line) -> None:
        """Count those of them that got no permit as pending no more."""
        self._lines.discard(line)

    async def next_in_line(self, line: Line, work: float, certain: float | None) -> Permit:
        """Take a place for a picture in line as soon as there is one, in the order in which they are asked for."""
        try:
            async with self._first_in_line:
                while len(self._taken_on) >= self._max_pictures or self._seconds(self._work) > self._max_seconds:
                    self._freed.clear()  # something is pending, and will be given back
                    await self._freed.wait()
                return self._take(work, certain)
        finally:  # it waits no more, even if it is cancelled
            line.pictures -= 1
            line.work -= work

    def _take(self, work: float, certain: float | None) -> Permit:
        permit = Permit(self, work, work if certain is None else certain)
        self._taken_on[permit] = self._clock()
        self._work += work
        return permit

    def _require_time(self) -> None:
        if self.expected_seconds > self._max_seconds:
            msg = f"Expected at most {self._max_seconds:g} seconds of work before a picture, found "
            msg += f"{self.expected_seconds:.1f}. Try again later."
            raise OverloadedError(msg, self.retry_after_seconds)

    def _seconds(self, work: float) -> float:
        if not self._finished_work or self._busy_seconds < FIRST_SECONDS:
            return 0.0
        return work * self._busy_seconds / self._finished_work

    def _done_before_refusal(self, permit: Permit) -> float:
        """Return the work that a refused picture took, at most.

        A broken file that announces many pixels is refused in no time. If it counted as if they had been decoded, the
        rate would be far too high for long.
        """
        possible = math.inf
        if self._busy_seconds >= FIRST_SECONDS:
            possible = (self._clock() - self._taken_on[permit]) * self._finished_work / self._busy_seconds
        return min(permit.certain, possible)

    def _count(self, work: float) -> None:
        """Count finished work, and the busy time since work was last counted."""
        now, oldest = self._clock(), next(iter(self._taken_on.values()))
        # Before the oldest remaining picture came, the service was idle or worked on pictures that were dropped.
        self._busy_seconds += now - max(self._counted_until, oldest)
        self._counted_until = now
        self._finished_work += work
        if self._busy_seconds > RATE_SECONDS:
            self._busy_seconds /= 2
            self._finished_work /= 2


class Permit:
    """A place, held for the duration of a `with` block."""

    __slots__ = ("_admission", "certain", "work")

    def __init__(self, admission: Admission, work: float, certain: float) -> None:
        """Take the admission that the place is given back to, and the work, of which part may be certain."""
        self._admission = admission
        self.work = work
        self.certain = certain

    def __enter__(self) -> None:
        """Hold the place."""

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        """Give the place back."""
        self._admission.give_back(self, kind)


class Line:
    """The pictures of a batch that wait for places; their work counts as pending within a `with` block.

    Attributes:
        pictures: How many still wait.
        work: Their work.
    """

    __slots__ = ("_admission", "pictures", "work")

    def __init__(self, admission: Admission, works: Sequence[float]) -> None:
        """Take the admission, and the work of each picture."""
        self._admission = admission
        self.pictures = len(works)
        self.work = sum(works)

    def __enter__(self) -> Self:
        """Begin to wait."""
        self._admission.enter(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Wait no more."""
        self._admission.leave(self)

    async def permit(self, work: float, certain: float | None = None) -> Permit:
        """Take a place for the next picture as soon as there is one."""
        return await self._admission.next_in_line(self, work, certain)
