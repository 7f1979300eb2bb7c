"""The record of a soak, minute by minute, and whether it is good enough."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from training.markdown import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_REFUSED = 0.01
"""Largest share of refusals among the answers: at 70% of its full load, the service has no reason to refuse much."""

SETTLED_MINUTES = 5
MOST_GROWTH = 0.02
"""Memory has to grow by less than this share from the fifth minute to the last."""

MOST_SLOWER = 1.5
"""Largest ratio that counts as steady: median p99 of the later half to that of the earlier, after the fifth minute."""

MIB = 2**20

COLUMNS = ("minute", "answers", "as expected", "503", "hung up", "faults", "p50 ms", "p99 ms", "RSS MiB", "PSS MiB")


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute, a row of the table.

    Attributes:
        answers: Number of answers.
        right: Number of these that were as expected.
        overloaded: Number of these that were honest refusals.
        hung_up: Number of requests abandoned halfway.
        faults: Everything else, and how often.
        p50_milliseconds: Half of the answers took no longer.
        p99_milliseconds: 99 of 100 took no longer.
        resident_bytes: Memory of all processes, the median of the samples; shared pages count in each process.
        proportional_bytes: The same with each shared page counted once.
    """

    answers: int
    right: int
    overloaded: int
    hung_up: int
    faults: dict[str, int]
    p50_milliseconds: float
    p99_milliseconds: float
    resident_bytes: int
    proportional_bytes: int


@dataclass(slots=True)
class Record:
    """A whole soak: its conditions, the rates of the full and the requested load, and its minutes."""

    conditions: dict[str, str]
    full_rate: float
    rate: float
    minutes: list[Minute] = field(default_factory=list)

    @property
    def faults(self) -> Counter[str]:
        """All faults, and how often each occurred."""
        return sum((Counter(minute.faults) for minute in self.minutes), Counter())

    @property
    def refused(self) -> float:
        """Share of all answers that were honest refusals."""
        return sum(minute.overloaded for minute in self.minutes) / max(
            1, sum(minute.answers for minute in self.minutes)
        )

    @property
    def growth(self) -> float | None:
        """Relative growth of memory from the fifth minute to the last, the larger of both counts; None in a trial."""
        if len(self.minutes) <= SETTLED_MINUTES:
            return None
        settled, last = self.minutes[SETTLED_MINUTES - 1], self.minutes[-1]
        return (
            max(last.resident_bytes / settled.resident_bytes, last.proportional_bytes / settled.proportional_bytes) - 1
        )

    @property
    def slowdown(self) -> float | None:
        """Median p99 of the later half over the earlier half's, after minute five; None for fewer than two minutes."""
        settled = [minute.p99_milliseconds for minute in self.minutes[SETTLED_MINUTES:]]
        half = len(settled) // 2
        return median(settled[-half:]) / median(settled[:half]) if half else None

    def complaints(self) -> Iterator[str]:
        """Yield what is not good enough."""
        if not sum(minute.right for minute in self.minutes):
            yield "expected right answers, found none"
        if (refused := self.refused) > MOST_REFUSED:
            yield f"expected at most {MOST_REFUSED:.0%} of the answers to be refusals, found {refused:.1%}"
        if self.faults:
            yield f"expected no fault, found {self.faults.total()}, such as {self.faults.most_common(1)[0][0]}"
        if self.growth is not None and self.growth >= MOST_GROWTH:
            yield f"expected memory to grow by less than {MOST_GROWTH:.0%} after minute five, found {self.growth:.1%}"
        if self.slowdown is not None and self.slowdown > MOST_SLOWER:
            yield f"expected a p99 at most {MOST_SLOWER} times the earlier half's, found {self.slowdown:.2f} times"


def markdown(record: Record) -> str:
    """Format the record as a section of a page."""
    facts = record.conditions | {
        "full load": f"{record.full_rate:,.0f} answers a second",
        "asked for": f"{record.rate:,.0f} requests a second, {record.rate / record.full_rate:.0%} of that",
        "answers checked": f"{sum(minute.answers for minute in record.minutes):,}",
        "growth of memory after minute five": _share(record.growth),
        "p99 of the later half over the earlier half": f"{record.slowdown:.2f}" if record.slowdown else "not judged",
    }
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["", table(COLUMNS, (_cells(number, one) for number, one in enumerate(record.minutes, 1)), left=0)]
    lines += ["", *(f"- {count} times {fault}" for fault, count in record.faults.most_common(20))]
    return "\n".join(lines).rstrip() + "\n"


def _cells(number: int, one: Minute) -> Sequence[object]:
    return (
        number,
        f"{one.answers:,}",
        f"{one.right:,}",
        one.overloaded,
        f"{one.hung_up:,}",
        sum(one.faults.values()),
        f"{one.p50_milliseconds:.1f}",
        f"{one.p99_milliseconds:.1f}",
        f"{one.resident_bytes / MIB:.1f}",
        f"{one.proportional_bytes / MIB:.1f}",
    )


def _share(growth: float | None) -> str:
    return "not judged" if growth is None else f"{growth:+.2%}"
