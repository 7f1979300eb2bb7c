"""What the service promises in comparison with others, as ratios within one run on two cores."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.serving.results import CONNECTIONS

if TYPE_CHECKING:
    from benchmarks.serving.results import Results

RAW, MULTIPART = "ours, raw", "ours, multipart"
DIRECT_RAW, DIRECT_MULTIPART = "FastAPI-direct, raw", "FastAPI-direct, multipart"


@dataclass(frozen=True, slots=True)
class Target:
    """One promise.

    Attributes:
        promise: What is compared.
        measured: The ratio or number, or None if the run left out one side.
        bound: The value it has to reach, or must not exceed.
        at_least: Whether more is better.
    """

    promise: str
    measured: float | None
    bound: float
    at_least: bool = True

    @property
    def missed(self) -> bool:
        """Whether the promise was measured and not kept."""
        if self.measured is None:
            return False
        return self.measured < self.bound if self.at_least else self.measured > self.bound


def targets(results: Results) -> list[Target]:
    """Check a run against every promise."""

    def of(system: str, connections: int, measure: str = "rate") -> float | None:
        outcomes = results.of(system, connections)
        return median(getattr(one, measure) for one in outcomes) if outcomes else None

    raw, multipart = of(RAW, 64), of(MULTIPART, 64)
    made = [
        Target("raw at 64 connections, of mosec's rate", _ratio(raw, of("mosec", 64)), 0.9),
        Target("raw at 64, of FastAPI-direct's rate", _ratio(raw, of(DIRECT_RAW, 64)), 3.5),
        Target("multipart at 64, of FastAPI-direct's rate", _ratio(multipart, of(DIRECT_MULTIPART, 64)), 2.3),
        Target("multipart at 64, of LitServe's rate", _ratio(multipart, of("LitServe", 64)), 5),
    ]
    for own, other in ((RAW, DIRECT_RAW), (MULTIPART, DIRECT_MULTIPART)):
        p50, p99 = "p50_milliseconds", "p99_milliseconds"
        alike, slow = _ratio(of(own, 1, p50), of(other, 1, p50)), _ratio(of(own, 64, p99), of(own, 64, p50))
        made += [
            Target(f"p50 at 1, {own} to {other}", alike, 1, at_least=False),
            Target(f"p99 to p50 at 64, {own}", slow, 2.5, at_least=False),
            Target(f"rate at 256 to that at 64, {own}", _ratio(of(own, 256), of(own, 64)), 0.9),
        ]
    return [
        *made,
        Target("shipped network, of the rate of its SavedModel alone", results.shipped.ratio, 0.75),
        Target("photographs, of the rate of their preparation alone", results.photographs.ratio, 0.75),
        Target("errors of ours in all loads", _errors(results), 0, at_least=False),
    ]


def _errors(results: Results) -> float | None:
    """Count the errors in all loads of the service, or return None if it was not measured."""
    loads = [results.of(system, connections) for system in (RAW, MULTIPART) for connections in CONNECTIONS]
    if not any(loads):
        return None
    beside = (results.shipped, results.photographs, *results.sizes.values())
    outcomes = chain.from_iterable([*loads, *results.mixed.values()])
    return sum(one.errors for one in outcomes) + sum(one.errors for one in beside)


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours is not None and theirs else None
