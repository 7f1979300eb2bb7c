"""Counters and histograms whose numbers are stored in the cells of a row."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate, product
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from app.telemetry.tally import Row

OTHER = "other"
"""Replaces every unforeseen label value, so that no client can create new series."""


class Cells:
    """Allocates the cells of a row."""

    def __init__(self, row: Row, first: int) -> None:
        """Take the row, float64, and the index of its first free cell."""
        self.row = row
        self._free = first

    def take(self, count: int) -> int:
        """Reserve consecutive cells, and return the index of the first."""
        first, self._free = self._free, self._free + count
        if self._free > len(self.row):
            msg = f"expected at most {len(self.row)} cells, all metrics together need {self._free}"
            raise ValueError(msg)
        return first


class Counter:
    """A count for each combination of label values; counting costs a lookup and a store."""

    def __init__(self, cells: Cells, name: str, documentation: str, labels: dict[str, Iterable[str]]) -> None:
        """Take the names, and all values that each label can have."""
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._row = cells.row
        self._places = {values: cells.take(1) for values in product(*labels.values())}
        other = (OTHER,) * len(labels)
        self._other = self._places[other] = self._places.get(other) or cells.take(1)

    def add(self, *values: str) -> None:
        """Count one."""
        self._row[self._places.get(values, self._other)] += 1.0

    def family(self, totals: Sequence[float], *, zeros: bool) -> Metric:
        """Return the series; those that counted nothing only if asked for."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, place in self._places.items():
            if totals[place] or (zeros and place != self._other):
                family.add_metric(values, totals[place])
        return family


class Histogram:
    """Counts by size, for each value of at most one label; counting costs a lookup, a search and two stores."""

    def __init__(
        self,
        cells: Cells,
        name: str,
        documentation: str,
        bounds: tuple[float, ...],
        label: tuple[str, Iterable[str]] | None = None,
    ) -> None:
        """Take the names, the upper bounds of the buckets, and all values that the label can have."""
        self._name = name
        self._documentation = documentation
        self._bounds = bounds
        self._row = cells.row
        self._label, values = label or ("", ("",))
        # For each value: the sum, then the buckets, the last of which has no bound.
        self._places = {value: cells.take(1 + len(bounds) + 1) for value in values}

    def observe(self, amount: float, value: str = "") -> None:
        """Count one observation of an amount."""
        row, place = self._row, self._places[value]
        row[place] += amount
        row[place + 1 + bisect_left(self._bounds, amount)] += 1.0

    def family(self, totals: Sequence[float], *, zeros: bool) -> Metric:
        """Return the series; those that counted nothing only if asked for."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=[self._label] if self._label else [])
        names = [str(bound) for bound in self._bounds] + ["+Inf"]
        for value, place in self._places.items():
            counts = list(accumulate(totals[place + 1 : place + 1 + len(names)]))
            if zeros or counts[-1]:
                buckets = list(zip(names, counts, strict=True))
                family.add_metric([value] if self._label else [], buckets, totals[place])
        return family
