"""`python -m benchmarks.results ARTIFACT...`: the table of results from the cards of models, and its picture.

Models that differ only in their seed share a row. A card of any version will do: `git archive COMMIT
models/fashion-mnist/1` restores what was shipped earlier.
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

from app.model_card import CARD_NAME
from training.markdown import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

COLUMNS = (
    *("network", "seeds", "parameters", "multiply-accumulates", "epochs", "minutes"),
    *("validation", "test", "ECE", "log-likelihood", "Brier", "photographs", "machine"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """Models of one config, whatever their seed.

    Attributes:
        name: The network, and what it learnt from besides the labels of the data set.
        cards: The card of each model, as JSON.
    """

    name: str
    cards: Sequence[dict[str, Any]]

    def network(self, fact: str) -> int:
        """Return a fact about the network, the same for all models."""
        return int(self.cards[0]["network"][fact])

    @property
    def cost(self) -> str:
        """The multiply-accumulates for an image, in millions."""
        return f"{self.network('multiply_accumulates') / 1e6:.1f} M"

    @property
    def label(self) -> str:
        """The text beside the row in the picture."""
        return f"{self.name}: {self.cost} multiply-accumulates, {self.network('parameters') / 1e6:.2f} M parameters"

    def metric(self, split: str, name: str) -> list[Any]:
        """Return a metric of each model, except where an older card lacks it."""
        return [card["metrics"][split][name] for card in self.cards if name in card["metrics"][split]]

    @property
    def photos(self) -> list[float]:
        """The share of photographs that each network alone gets right, except where an older card lacks it."""
        measured = [card["photos"] for card in self.cards if card.get("photos")]
        alone = [one.get("accuracy_alone") if one.get("recogniser") else one["accuracy"] for one in measured]
        return [share for share in alone if share is not None]

    def cells(self) -> list[str]:
        """Write the row in the order of `COLUMNS`."""
        training = [card["training"] for card in self.cards]
        return [
            self.name,
            ", ".join(str(one["config"]["seed"]) for one in training),
            f"{self.network('parameters'):,}",
            self.cost,
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
    """Format the mean of values; of several, with their standard deviation and number."""
    if not values:
        return ""
    mean = format(statistics.mean(values), form)
    return mean if len(values) == 1 else f"{mean} ± {format(statistics.stdev(values), form)} (n = {len(values)})"


def rows(cards: Iterable[dict[str, Any]]) -> list[Row]:
    """Group the cards of each config into a row, in the order in which configs first appear.

    Rows of the same name are told apart by their number of parameters, or else by a running number in this order.

    Raises:
        ValueError: Two models of a row have the same seed.
    """
    groups: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for card in cards:
        groups[json.dumps(_what_is_alike(card), sort_keys=True)].append(card)
    for group in groups.values():
        seeds = [card["training"]["config"]["seed"] for card in group]
        if len(set(seeds)) < len(seeds):
            msg = f"models of one config and seeds {', '.join(map(str, sorted(seeds)))}"
            raise ValueError(msg)
    made = [Row(_name(group[0]), group) for group in groups.values()]
    made = _told_apart(made, lambda row, _: f", {row.network('parameters') / 1e6:.2f} M")
    return _told_apart(made, lambda _, number: f" ({number})")


def _what_is_alike(card: dict[str, Any]) -> list[Any]:
    training, photos = card["training"], card.get("photos") or {}
    config = {**training["config"], "seed": None}
    return [card["network"], config, training["data_digests"], photos.get("digest"), photos.get("segmenter")]


def _told_apart(made: Sequence[Row], by: Callable[[Row, int], str]) -> list[Row]:
    """Append a suffix to each name that occurs more than once, made from the row and its number among its namesakes."""
    times = Counter(row.name for row in made)
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(1))
    return [
        row if times[row.name] == 1 else replace(row, name=row.name + by(row, next(numbers[row.name]))) for row in made
    ]


def draw(made: Sequence[Row]) -> Figure:
    """Draw each row's test accuracy, one mark for each seed, with intervals; the costliest networks are at the top."""
    figure = Figure(figsize=(11, 1 + 0.3 * len(made)), layout="constrained")
    axes = figure.subplots()
    dearest_first = sorted(made, key=lambda row: -row.network("multiply_accumulates"))
    for height, row in enumerate(dearest_first[::-1]):
        errors = [100 * (1 - accuracy) for accuracy in row.metric("test", "accuracy")]
        axes.plot(errors, [height] * len(errors), "o", color="black", markersize=4)
        for interval in row.metric("test", "accuracy_interval_95"):
            axes.plot([100 * (1 - end) for end in interval], [height, height], color="black", alpha=0.3)
        axes.text(-0.01, height, row.label, transform=axes.get_yaxis_transform(), ha="right", va="center", size="small")
    # Errors on a logarithmic scale: the same relative difference has the same width everywhere.
    axes.set(xscale="log", xlabel="right on the test split, %, with 95% intervals", yticks=[])
    axes.xaxis.set_minor_formatter(lambda error, _: f"{100 - error:g}")
    axes.xaxis.set_major_formatter(lambda error, _: f"{100 - error:g}")
    axes.invert_xaxis()
    axes.grid(axis="x", which="both", alpha=0.3)
    return figure


def _name(card: dict[str, Any]) -> str:
    config = card["training"]["config"]
    distillation = config.get("distillation") or {}
    teachers = len(distillation.get("teachers", ()))
    besides = [
        *(["photographs"] if config.get("photos") else []),
        *([f"{teachers} teachers" if teachers > 1 else "a teacher"] if teachers else []),
    ]
    name = f"{card['network']['name']}, with {' and '.join(besides)}" if besides else card["network"]["name"]
    return f"{name}, continued" if distillation.get("continued") else name


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.results", description=__doc__.partition(": ")[2])
    made.add_argument("artifacts", type=Path, nargs="+", metavar="ARTIFACT")
    made.add_argument("--picture", type=Path, metavar="FILE", help="where to draw accuracy beside cost and size, a PNG")
    return made


def main() -> None:
    """Print the table, and draw the picture when asked."""
    command = parser()
    given = command.parse_args()
    try:
        made = rows(json.loads((folder / CARD_NAME).read_text()) for folder in given.artifacts)
    except (OSError, ValueError) as error:
        command.error(f"expected artifacts with a card, each of another seed or config, found {error}")
    print(table(COLUMNS, (row.cells() for row in made)))
    if given.picture:
        draw(made).savefig(given.picture, dpi=110)


if __name__ == "__main__":
    main()
