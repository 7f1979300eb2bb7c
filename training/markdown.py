"""Writes tables in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def lines(header: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> Iterator[str]:
    """Yield a table line by line, each row as soon as it is available.

    Args:
        header: The columns' headings.
        rows: The cells of each row.
        left: Number of leading columns that are aligned left; the others are aligned right, as numbers are.
    """
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    for cells in (header, rule):
        yield f"| {' | '.join(cells)} |"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"


def table(header: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """Return a table as one string; the arguments are those of `lines`."""
    return "\n".join(lines(header, rows, left))
