"""Lists the outcomes for pictures as a table, as JSON or as CSV, with a progress line."""

from __future__ import annotations

import csv
import json
import time
from typing import TYPE_CHECKING, Any, Self, TextIO

from app.errors import ServiceError
from app.schemas import PROBLEM_URN, problem_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.outcomes import Outcome
    from app.schemas import Prediction

CSV_COLUMNS = ("filename", "label", "probability", "prediction_set", "familiar", "familiarity", "error")

NAMES_HEADER = "PICTURE"
WIDEST_NAME = 60
"""Longer names are shortened in a table; the other formats keep them whole."""
MANY = 20
"""With at least this many pictures, there is a progress line."""
SECONDS_BETWEEN_LINES = 0.2


class Listing:
    """Writes a line for each picture, and counts the outcomes.

    Attributes:
        answered: Number of pictures with a prediction.
        refused: Number of pictures without one.
    """

    def __init__(self, kind: str, names: Sequence[str], out: TextIO, progress: TextIO) -> None:
        """Prepare the listing, and write nothing yet.

        Args:
            kind: `table`, `json` or `csv`.
            names: Names of all pictures to come.
            out: Where the lines go.
            progress: Where the progress line is shown, if that is a terminal.
        """
        self.answered = 0
        self.refused = 0
        self._kind = kind
        self._out = out
        self._name_width = max(len(_cell(name)) for name in (NAMES_HEADER, *names))
        self._progress = _Progress(len(names), progress, rows_are_seen=out.isatty())

    def _write_csv(self, row: Sequence[object]) -> None:
        # Before Python 3.13, `csv` quotes no carriage return if the line terminator has none.
        has_one = any("\r" in str(cell) for cell in row)
        writer = csv.writer(self._out, lineterminator="\n", quoting=csv.QUOTE_ALL if has_one else csv.QUOTE_MINIMAL)
        writer.writerow(row)

    def add(self, name: str, outcome: Outcome[object]) -> None:
        """Write the line of one picture, and the column headers above the first."""
        if not self.answered + self.refused:
            self._write_head()
        if outcome.prediction is not None:
            self.answered += 1
            self._write_prediction(name, outcome.prediction)
        else:
            self.refused += 1
            self._write_problem(name, _problem(outcome.error))
        self._progress.show(self.answered, self.refused)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write the final progress line, however the listing ended."""
        self._progress.finish(self.answered, self.refused)

    def _write_head(self) -> None:
        if self._kind == "csv":
            self._write_csv(CSV_COLUMNS)
        elif self._kind == "table":
            print(self._row(NAMES_HEADER, "LABEL", "PROBABILITY", "FAMILIAR", "PREDICTION SET"), file=self._out)

    def _write_prediction(self, name: str, answer: Prediction) -> None:
        best = answer.prediction
        if self._kind == "json":
            print(json.dumps({"filename": name, "result": answer.model_dump(exclude_none=True)}), file=self._out)
        elif self._kind == "csv":
            labels = "|".join(answer.prediction_set)
            familiar = str(answer.familiar).lower()
            self._write_csv((name, best.label, best.probability, labels, familiar, answer.familiarity, ""))
        else:
            familiar = "yes" if answer.familiar else "no"
            labels = ", ".join(answer.prediction_set)
            print(self._row(name, best.label, f"{best.probability:.1%}", familiar, labels), file=self._out)

    def _write_problem(self, name: str, problem: dict[str, Any]) -> None:
        error = f"{problem['code']}: {problem['detail']}"
        if self._kind == "json":
            print(json.dumps({"filename": name, "problem": problem}), file=self._out)
        elif self._kind == "csv":
            self._write_csv((name, *[""] * (len(CSV_COLUMNS) - 2), error))
        else:
            print(f"{_cell(name):{self._name_width}}  {error}", file=self._out)

    def _row(self, name: str, label: str, probability: str, familiar: str, labels: str) -> str:
        return f"{_cell(name):{self._name_width}}  {label:11}  {probability:>11}  {familiar:8}  {labels}"


class _Progress:
    """A line on a terminal that is overwritten; only the final one if the rows appear on the terminal as well."""

    def __init__(self, total: int, out: TextIO, *, rows_are_seen: bool) -> None:
        self._total = total
        self._out = out
        self._is_shown = total >= MANY and out.isatty()
        self._rows_are_seen = rows_are_seen
        self._started = self._shown = time.monotonic()

    def show(self, answered: int, refused: int) -> None:
        now = time.monotonic()
        if self._is_shown and not self._rows_are_seen and now - self._shown >= SECONDS_BETWEEN_LINES:
            self._shown = now
            print(f"\r{self._line(answered, refused)}\x1b[K", end="", file=self._out, flush=True)

    def finish(self, answered: int, refused: int) -> None:
        if self._is_shown:
            print(f"\r{self._line(answered, refused)}\x1b[K", file=self._out)

    def _line(self, answered: int, refused: int) -> str:
        done = answered + refused
        rate = done / max(time.monotonic() - self._started, 1e-3)
        without = f", {refused:,} without an answer" if refused else ""
        return f"{done:,} of {self._total:,} pictures, {rate:,.0f} a second{without}"


def _printable(name: str) -> str:
    """Escape unprintable characters, which a terminal would obey."""
    return name if name.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def _cell(name: str) -> str:
    """Return a name as a table shows it: if long, only the beginning and the end, which tells files apart."""
    shown = _printable(name)
    end = WIDEST_NAME // 2
    return shown if len(shown) <= WIDEST_NAME else f"{shown[: WIDEST_NAME - end - 3]}...{shown[-end:]}"


def _problem(error: Exception | None) -> dict[str, Any]:
    """Return what the service answers for an error; an unreadable file never reaches it, and so has no status."""
    if isinstance(error, ServiceError):
        return problem_of(error).model_dump()
    detail = getattr(error, "strerror", None) or str(error)
    return {
        "type": PROBLEM_URN + "unreadable",
        "title": "The file cannot be read",
        "detail": detail,
        "code": "unreadable",
    }
