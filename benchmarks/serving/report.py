"""Writes a run as Markdown into a page, between two markers."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks.serving.results import CONNECTIONS
from training.markdown import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.serving.load import Outcome
    from benchmarks.serving.results import Comparison, Results
    from benchmarks.serving.systems import Server
    from benchmarks.serving.targets import Target

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def write(page: Path, text: str) -> None:
    """Replace the text between the markers of a page.

    Raises:
        ValueError: The page has no markers.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        msg = f"{page}: expected the lines {BEGIN} and {END}, found them missing"
        raise ValueError(msg)
    page.write_text(f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}")


def markdown(results: Results, servers: Sequence[Server], targets: Sequence[Target]) -> str:
    """Return a run as Markdown tables."""
    return "\n\n".join(_sections(results, servers, targets))


def _sections(results: Results, servers: Sequence[Server], targets: Sequence[Target]) -> Iterator[str]:
    yield "; ".join(f"{name}: {value}" for name, value in results.conditions.items()) + "."
    yield "### Servers"
    yield _servers(results, servers)
    for connections in CONNECTIONS:
        yield f"### {connections} connection{'s' * (connections > 1)}"
        systems = (system.name for server in servers for system in server.systems)
        yield _outcomes("system", {name: results.of(name, connections) for name in systems})
    if results.mixed:
        yield "### The service alone"
        yield _comparisons(results)
        yield _outcomes("small requests on 16 connections", results.mixed)
    yield "### Targets"
    yield _targets(targets)


def _servers(results: Results, servers: Sequence[Server]) -> str:
    rows = []
    for server in servers:
        memory = [one / 2**20 for one in results.memory_bytes.get(server.name, [])]
        left_out = f"left out: {results.refused[server.name]}" if server.name in results.refused else ""
        version = f"{server.package} {results.versions.get(server.name, '')}".strip()
        rows.append((server.name, version, str(server.workers), left_out or _spread(memory, "{:,.0f}")))
    return table(("server", "package", "workers", "MiB (PSS) after the loads"), rows)


def _outcomes(what: str, outcomes: dict[str, list[Outcome]]) -> str:
    def spread(rounds: list[Outcome], value: Callable[[Outcome], float], shape: str) -> str:
        return _spread([value(one) for one in rounds], shape)

    rows = [
        (
            name,
            spread(rounds, lambda one: one.rate, "{:,.0f}"),
            spread(rounds, lambda one: one.p50_milliseconds, "{:.2f}"),
            spread(rounds, lambda one: one.p99_milliseconds, "{:.1f}"),
            str(sum(one.errors for one in rounds)),
            f"{median(one.load_cores for one in rounds):.2f}",
        )
        for name, rounds in outcomes.items()
        if rounds
    ]
    return table((what, "requests/s", "p50 ms", "p99 ms", "errors", "cores that wrk took"), rows)


def _comparisons(results: Results) -> str:
    def row(what: str, comparison: Comparison) -> tuple[str, ...]:
        rates = (_spread(one, "{:,.0f}") for one in (comparison.service, comparison.alone))
        return (what, *rates, f"{comparison.ratio:.2f}" if comparison.ratio is not None else "not measured")

    return table(
        ("pictures a second", "service", "its parts alone", "ratio"),
        [
            row("shipped network, 64 connections; SavedModel and decoding, batches of 32", results.shipped),
            row("400x533 photographs, 8 connections; decoding and conversion", results.photographs),
        ],
    )


def _targets(targets: Sequence[Target]) -> str:
    rows = []
    for target in targets:
        bound = f"{'at least' if target.at_least else 'at most'} {target.bound:g}"
        measured = "not measured" if target.measured is None else f"{target.measured:.3f}"
        verdict = "" if target.measured is None else "missed" if target.missed else "kept"
        rows.append((target.promise, bound, measured, verdict))
    return table(("target", "bound", "measured", ""), rows)


def _spread(values: Sequence[float], shape: str) -> str:
    """Return the median with the lowest and the highest round, or an empty string if there is no round."""
    if not values:
        return ""
    middle, low, high = (shape.format(one) for one in (median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"
