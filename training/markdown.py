"""Writes tables in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def lines(header: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> Iterator[str]:
    """Yield a table line by line, each row as soon as it is there.

    Args:
        header: Of each column.
        rows: Of each row, what stands in each column.
        left: How many columns, from the first, stand to the left; numbers stand to the right.
    """
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    for cells in (header, rule):
        yield f"| {' | '.join(cells)} |"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"


def table(header: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """Return the same as one piece."""
    return "\n".join(lines(header, rows, left))
