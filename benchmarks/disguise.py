"""`python -m benchmarks.disguise`: how often is a data set image, disguised as a catalogue picture, answered as itself?

Fashion-MNIST was made from catalogue pictures by a fixed conversion. Here its images are turned back into such
pictures, and sent the way of every upload: decoded, converted, classified.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.classifier import SavedModelClassifier
from app.errors import StartError
from app.imaging.conversion import Mode, convert
from app.imaging.decode import decode
from training.data import find_folder, load
from training.disguise import GARMENTS, GROUNDS, disguise
from training.errors import TrainingError
from training.markdown import lines

if TYPE_CHECKING:
    from app.classifier import Classifier
    from training.data import Split


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disguise", description=__doc__)
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument(
        "--images", type=int, default=2000, metavar="N", help="the first N of the split (default: 2000)"
    )
    parser.add_argument("--model", type=Path, default=Path("models/fashion-mnist/1"), metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        classifier = SavedModelClassifier(given.model)
        data = load(find_folder(), classifier.card.training.config["split_seed"])
    except (StartError, TrainingError) as error:
        parser.error(str(error))
    split = getattr(data, given.split).take(slice(given.images))
    print(f"{given.split} split, n = {len(split)}, seed {given.seed}\n")
    rows = (
        (ground, garment, *(f"{share:.1%}" for share in measure(classifier, split, ground, garment, given.seed)))
        for ground in GROUNDS
        for garment in GARMENTS
    )
    for line in lines(("ground", "garment", "as the native image", "right", "native right"), rows, left=2):
        print(line, flush=True)


def measure(classifier: Classifier, split: Split, ground: str, garment: str, seed: int) -> tuple[float, float, float]:
    """Return the shares of disguised images answered as their native one, of them right, and of native ones right."""
    rng = np.random.default_rng(seed)
    pictures = (disguise(image, ground, garment, rng) for image in split.images)
    converted = [convert(decode(picture, "image/jpeg", 10**8).pixels, Mode.AUTO).image for picture in pictures]
    answers = classifier.classify(np.stack(converted)).probabilities.argmax(axis=1)
    native = classifier.classify(split.images).probabilities.argmax(axis=1)
    right, native_right = answers == split.class_ids, native == split.class_ids
    return float((answers == native).mean()), float(right.mean()), float(native_right.mean())


if __name__ == "__main__":
    main()
