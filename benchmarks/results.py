"""`python -m benchmarks.results ARTIFACT...`: the table of results, from the cards of models, and its picture.

Models that differ in nothing but their seed make one row. A card of any version will do: `git archive COMMIT
models/fashion-mnist/1` brings back what was shipped earlier.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from app.model_card import CARD_NAME
from training.markdown import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

COLUMNS = (
    *("network", "seeds", "parameters", "multiply-accumulates", "epochs", "minutes"),
    *("validation", "test", "ECE", "log-likelihood", "Brier", "photographs", "machine"),
)
AGAINST = ("multiply_accumulates", "parameters")
APART = 7
"""Points of 1/72 inch between marks that would lie on top of one another."""
COLOURS, MARKERS = 10, "os^"
"""So many colours Matplotlib has before it begins again, with another marker then."""


@dataclass(frozen=True, slots=True)
class Row:
    """Models of one config, whatever their seed.

    Attributes:
        name: The network, and what it learnt from besides labels of the data set.
        cards: The card of each model, as JSON.
    """

    name: str
    cards: Sequence[dict[str, Any]]

    def network(self, fact: str) -> int:
        """Return a fact about the network, which all models share."""
        return int(self.cards[0]["network"][fact])

    def metric(self, split: str, name: str) -> list[float]:
        """Return a metric of each model; of none where an older card lacks it."""
        return [card["metrics"][split][name] for card in self.cards if name in card["metrics"][split]]

    @property
    def photos(self) -> list[float]:
        """The share of right photographs of each model that was measured on some."""
        return [card["photos"]["accuracy"] for card in self.cards if card.get("photos")]

    def cells(self) -> list[str]:
        """Write the row in the order of `COLUMNS`."""
        training = [card["training"] for card in self.cards]
        return [
            self.name,
            ", ".join(str(one["config"]["seed"]) for one in training),
            f"{self.network('parameters'):,}",
            f"{self.network('multiply_accumulates') / 1e6:.1f} M",
            f"{statistics.mean(one['epochs'] for one in training):.0f}",
            f"{statistics.mean(one['minutes'] for one in training):.0f}",
            spread(self.metric("validation", "accuracy"), ".2%"),
            spread(self.metric("test", "accuracy"), ".2%"),
            spread(self.metric("test", "ece_equal_mass"), ".4f"),
            spread(self.metric("test", "negative_log_likelihood"), ".4f"),
            spread(self.metric("test", "brier_score"), ".4f"),
            spread(self.photos, ".1%"),
            ", ".join(sorted({one["machine"] for one in training})),
        ]


def spread(values: Sequence[float], form: str) -> str:
    """Write the mean, with the standard deviation and how many there are when there are several."""
    if not values:
        return ""
    mean = format(statistics.mean(values), form)
    return mean if len(values) == 1 else f"{mean} ± {format(statistics.stdev(values), form)} (n = {len(values)})"


def rows(cards: Iterable[dict[str, Any]]) -> list[Row]:
    """Put the cards of one config into one row, in the order in which the first of each comes.

    Networks of one name are told apart by their parameters, and those of as many by a number in this order.
    """
    groups: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for card in cards:
        groups[json.dumps([card["network"], {**card["training"]["config"], "seed": None}], sort_keys=True)].append(card)
    made = [Row(_name(group[0]), group) for group in groups.values()]
    made = _told_apart(made, lambda row, _: f", {row.network('parameters') / 1e6:.2f} M")
    return _told_apart(made, lambda _, number: f" ({number})")


def _told_apart(made: Sequence[Row], by: Callable[[Row, int], str]) -> list[Row]:
    """Add something to each name that stands there more than once, by the row and its place among its equals."""
    times = Counter(row.name for row in made)
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(1))
    return [
        row if times[row.name] == 1 else replace(row, name=row.name + by(row, next(numbers[row.name]))) for row in made
    ]


def draw(made: Sequence[Row]) -> Figure:
    """Draw the test accuracy of each row against its cost and its size; what lies too close stands side by side."""
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    for axes, fact in zip(figure.subplots(1, 2, sharey=True), AGAINST, strict=True):
        facts = [row.network(fact) for row in made]
        for place, (row, aside) in enumerate(zip(made, places(facts), strict=True)):
            accuracies = row.metric("test", "accuracy")
            axes.errorbar(
                facts[place],
                100 * statistics.mean(accuracies),
                yerr=100 * statistics.stdev(accuracies) if len(accuracies) > 1 else None,
                fmt=MARKERS[place // COLOURS % len(MARKERS)],
                label=row.name,
                transform=axes.transData + ScaledTranslation(aside / 72, 0, figure.dpi_scale_trans),
            )
            axes.update_datalim([(facts[place], 100 * accuracy) for accuracy in accuracies])
        axes.margins(0.15, 0.05)
        axes.set(xscale="log", xlabel=f"{fact.replace('_', '-')} of an image" if fact == AGAINST[0] else fact)
        axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="lower right")
    figure.axes[0].set_ylabel("right on the test split, %")
    return figure


def places(values: Sequence[float]) -> list[float]:
    """Return how far each moves aside, in points of 1/72 inch, for those less than a fifth above the next smaller."""
    groups: list[list[int]] = []
    for index in sorted(range(len(values)), key=values.__getitem__):
        if groups and values[index] < 1.2 * values[groups[-1][-1]]:
            groups[-1].append(index)
        else:
            groups.append([index])
    moved = [0.0] * len(values)
    for group in groups:
        for place, index in enumerate(sorted(group)):
            moved[index] = APART * (place - (len(group) - 1) / 2)
    return moved


def _name(card: dict[str, Any]) -> str:
    config = card["training"]["config"]
    teachers = len((config.get("distillation") or {"teachers": ()})["teachers"])
    besides = [
        *(["photographs"] if config.get("photos") else []),
        *([f"{teachers} teachers" if teachers > 1 else "a teacher"] if teachers else []),
    ]
    return f"{card['network']['name']}, with {' and '.join(besides)}" if besides else card["network"]["name"]


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.results", description=__doc__.partition(": ")[2])
    made.add_argument("artifacts", type=Path, nargs="+", metavar="ARTIFACT")
    made.add_argument(
        "--picture", type=Path, metavar="FILE", help="where to draw accuracy against cost and size, a PNG"
    )
    return made


def main() -> None:
    """Print the table, and draw the picture when asked."""
    command = parser()
    given = command.parse_args()
    try:
        made = rows(json.loads((folder / CARD_NAME).read_text()) for folder in given.artifacts)
    except (OSError, ValueError) as error:
        command.error(f"expected artifacts with a card, found {error}")
    print(table(COLUMNS, (row.cells() for row in made)))
    if given.picture:
        draw(made).savefig(given.picture, dpi=110)


if __name__ == "__main__":
    main()
