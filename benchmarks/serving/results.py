"""The measurements of a run: every round, from which medians and spreads are computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.serving.load import Outcome

CONNECTIONS = (1, 16, 64, 256)


@dataclass(slots=True)
class Comparison:
    """The service compared with its parts alone, in pictures a second for each turn."""

    service: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    errors: int = 0

    @property
    def ratio(self) -> float | None:
        """The median over turns of the service's rate to that of its parts just before; None if none was measured.

        Other work on the machine slows both rates of a turn alike, but differs from turn to turn.
        """
        # If the service failed, its parts have one more rate.
        ratios = [service / alone for service, alone in zip(self.service, self.alone, strict=False)]
        return median(ratios) if ratios else None


@dataclass(slots=True)
class Results:
    """All measurements of a run.

    Attributes:
        conditions: The conditions of the run, by name.
        versions: The version of each server's package.
        refused: Why a server was left out.
        loads: The rounds of each system, by number of connections.
        memory_bytes: The memory of each server after its loads, for each round.
        shipped: The shipped network at 64 connections.
        photographs: 400x533 photographs.
        mixed: Small requests, by what was sent at the same time.
        sizes: Photographs by their number of pixels.
    """

    conditions: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    loads: dict[str, dict[int, list[Outcome]]] = field(default_factory=dict)
    memory_bytes: dict[str, list[int]] = field(default_factory=dict)
    shipped: Comparison = field(default_factory=Comparison)
    photographs: Comparison = field(default_factory=Comparison)
    mixed: dict[str, list[Outcome]] = field(default_factory=dict)
    sizes: dict[int, Comparison] = field(default_factory=dict)

    def add(self, system: str, connections: int, outcome: Outcome) -> None:
        """Record the outcome of one load."""
        self.loads.setdefault(system, {}).setdefault(connections, []).append(outcome)

    def of(self, system: str, connections: int) -> list[Outcome]:
        """Return the rounds of a system, none if it was not measured."""
        return self.loads.get(system, {}).get(connections, [])
