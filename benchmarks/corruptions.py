"""`python -m benchmarks.corruptions`: how much do damaged images cost, and does the model notice?

Images of a split are damaged as in `training.trust.corruptions`, and several models are compared side by side.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from app.classifier import SavedModelClassifier
from app.errors import StartError
from app.settings import Settings
from training.command import natural, positive
from training.data import find_folder, load
from training.errors import TrainingError
from training.machine import machine
from training.markdown import lines
from training.trust.corruptions import CORRUPTIONS, cell, header, label, measure, measure_corruption

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from app.classifier import Classifier
    from training.data import Split


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.corruptions", description=__doc__)
    made.add_argument(
        "models",
        type=Path,
        nargs="*",
        default=[Settings().model_dir],
        metavar="FOLDER",
        help="artifacts, compared side by side (default: models/fashion-mnist/1)",
    )
    made.add_argument("--split", choices=["validation", "test"], default="validation")
    made.add_argument(
        "--images", type=positive, default=2000, metavar="N", help="the first N of the split (default: 2000)"
    )
    made.add_argument("--seed", type=natural, default=0, metavar="N")
    return made


def main() -> None:
    """Print the table."""
    command = parser()
    given = command.parse_args()
    try:
        classifiers = [SavedModelClassifier(folder) for folder in given.models]
        split_seeds = {one.card.training.config["split_seed"] for one in classifiers}
        if len(split_seeds) > 1:
            command.error(f"expected models of one split_seed, received {sorted(split_seeds)}: their splits differ")
        data = load(find_folder(), split_seeds.pop())
    except (StartError, TrainingError) as error:
        command.error(str(error))
    split: Split = getattr(data, given.split).take(slice(given.images))
    # Models that were shipped one after the other may share a card's name and version; their folders differ.
    names = [f"{folder} ({one.card.network.name})" for folder, one in zip(given.models, classifiers, strict=True)]
    print(
        f"{len(split):,} images of the {given.split} split, seed {given.seed}, {machine()}: accuracy, ECE, unfamiliar\n"
    )
    for line in lines(header("", ""), rows(dict(zip(names, classifiers, strict=True)), split, given.seed), left=2):
        print(line, flush=True)


def rows(classifiers: Mapping[str, Classifier], split: Split, seed: int) -> Iterator[Sequence[str]]:
    """Yield a row for each corruption and model: its name, and its results without damage and at every strength."""
    undamaged = {name: measure(one.classify, split) for name, one in classifiers.items()}
    for kind in CORRUPTIONS:
        for name, classifier in classifiers.items():
            damaged = measure_corruption(classifier.classify, split, kind, seed)
            yield label(kind, damaged), name, cell(undamaged[name]), *map(cell, damaged)


if __name__ == "__main__":
    main()
