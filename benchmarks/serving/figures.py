"""Plots the cost of a request against the number of connections and the size of its picture."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from benchmarks.serving.results import CONNECTIONS

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.serving.results import Results


def draw_connections(results: Results, path: Path) -> None:
    """Plot the rates and 99th percentiles of all systems against the number of connections."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    for axes, name, label in zip(
        figure.subplots(1, 2),
        ("rate", "p99_milliseconds"),
        ("requests a second", "99th percentile, milliseconds"),
        strict=True,
    ):
        for system, rounds in results.loads.items():
            values = [median(getattr(one, name) for one in rounds[connections]) for connections in CONNECTIONS]
            width = 2.5 if system.startswith("ours") else 1
            axes.plot(CONNECTIONS, values, marker="o", markersize=3, linewidth=width, label=system)
        axes.set(xscale="log", yscale="log", xlabel="connections", ylabel=label, xticks=CONNECTIONS)
        axes.set_xticklabels(CONNECTIONS)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(path, dpi=120)


def draw_sizes(results: Results, cores: int, path: Path) -> None:
    """Plot how long a photograph occupies a core against its number of pixels."""
    figure = Figure(figsize=(6.5, 4.5), layout="constrained")
    axes = figure.subplots()
    # If a load failed, its size has no rate of the service.
    sizes = {pixels: one for pixels, one in results.sizes.items() if one.service and one.alone}
    megapixels = [pixels / 1e6 for pixels in sizes]
    for label, rates in (
        ("the service, 8 connections", [one.service for one in sizes.values()]),
        ("decoding, conversion and recognition alone", [one.alone for one in sizes.values()]),
    ):
        axes.plot(megapixels, [1000 * cores / median(rate) for rate in rates], marker="o", label=label)
    axes.set(
        xscale="log", yscale="log", ylim=(1, None), xlabel="megapixels", ylabel="milliseconds of a core a photograph"
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
