"""`python -m benchmarks.disguise`: how often does disguise as a catalogue picture leave an image's answer unchanged?

Fashion-MNIST was made from catalogue pictures by a fixed conversion. Here its images are turned back into such
pictures, and processed like any upload: decoded, converted, classified.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.classifier import SavedModelClassifier
from app.errors import StartError
from app.settings import Settings
from training.command import natural, positive
from training.data import find_folder, load
from training.errors import TrainingError
from training.markdown import table
from training.pictures.disguise import GARMENTS, GROUNDS, disguise
from training.pictures.upload import convert_upload
from training.trust.evaluate import in_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from app.classifier import Classifier
    from training.data import Split


LEAST_KEPT = 0.98
"""Promised share of disguised images that get the same label as their native originals."""


def main() -> None:
    """Print the table; exit with 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disguise", description=__doc__)
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument(
        "--images", type=positive, default=2000, metavar="N", help="the first N of the split (default: 2000)"
    )
    parser.add_argument("--model", type=Path, default=Settings().model_dir, metavar="FOLDER")
    parser.add_argument("--seed", type=natural, default=0)
    given = parser.parse_args()
    try:
        classifier = SavedModelClassifier(given.model)
        data = load(find_folder(), classifier.card.training.config["split_seed"])
    except (StartError, TrainingError) as error:
        parser.error(str(error))
    split = getattr(data, given.split).take(slice(given.images))
    print(f"{given.split} split, n = {len(split)}, seed {given.seed}\n")
    measured = dict(measure(classifier, split, given.seed))
    head = ("ground", "garment", "as the native image", "at least", "right", "native right")
    rows = [
        (*kind, f"{same:.1%}", f"{LEAST_KEPT:.0%}", f"{right:.1%}", f"{native:.1%}")
        for kind, (same, right, native) in measured.items()
    ]
    print(table(head, rows, left=2))
    sys.exit(min(same for same, _, _ in measured.values()) < LEAST_KEPT)


def measure(
    classifier: Classifier, split: Split, seed: int
) -> Iterator[tuple[tuple[str, str], tuple[float, float, float]]]:
    """Yield how a split's images are answered in each disguise.

    Yields:
        The disguise's ground and garment, with three shares: of disguised images that get the label of their native
        original, of disguised images that are right, and of native images that are right.
    """
    native = _named(classifier, split.images)
    native_right = float((native == split.class_ids).mean())
    for ground, garment in itertools.product(GROUNDS, GARMENTS):
        rng = np.random.default_rng(seed)
        pictures = (disguise(image, ground, garment, rng) for image in split.images)
        named = _named(classifier, np.stack([convert_upload(picture).image for picture in pictures]))
        shares = float((named == native).mean()), float((named == split.class_ids).mean()), native_right
        yield (ground, garment), shares


def _named(classifier: Classifier, images: NDArray[np.uint8]) -> NDArray[np.intp]:
    return np.asarray(in_batches(classifier.classify, images).probabilities.argmax(axis=1))


if __name__ == "__main__":
    main()
