"""`python -m benchmarks.strangers PICTURE...`: is a picture of anything but a garment called unfamiliar?

Each picture is processed like any upload, whole and in nine random crops. The pictures given should show no garment.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.classifier import SavedModelClassifier
from app.errors import ServiceError, StartError
from app.settings import Settings
from training.command import natural
from training.markdown import table
from training.pictures.upload import answer_uploads, convert_upload, decode_upload, encoded
from training.trust.evaluate import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from app.classifier import Classifier

CROPS = 9


@dataclass(frozen=True, slots=True)
class Stranger:
    """The result for one picture.

    Attributes:
        name: The name of its file.
        familiarity: The familiarity of the whole picture, then of each crop.
        label: The most probable class of the whole picture.
        probability: The probability of that class.
    """

    name: str
    familiarity: tuple[float, ...]
    label: str
    probability: float


def main() -> None:
    """Print how many pictures are called unfamiliar, and which are not."""
    command = argparse.ArgumentParser(prog="python -m benchmarks.strangers", description=__doc__)
    command.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE")
    command.add_argument("--model", type=Path, default=Settings().model_dir, metavar="ARTIFACT")
    command.add_argument("--seed", type=natural, default=0, help="decides the crops (default: 0)")
    given = command.parse_args()
    try:
        classifier = SavedModelClassifier(given.model, threads=1)
        strangers = [answer(picture, classifier, given.seed) for picture in sorted(given.pictures)]
    except (StartError, ServiceError, OSError) as error:
        command.error(str(error))
    card = classifier.card
    print(f"{card.name} {card.version} on {len(strangers)} pictures, seed {given.seed}\n")
    print(page(strangers, card.familiarity.threshold))


def answer(path: Path, classifier: Classifier, seed: int) -> Stranger:
    """Classify a picture and random crops of it, which depend only on the seed and the file's name."""
    rng = np.random.default_rng([seed, *path.name.encode()])
    decoded = decode_upload(path.read_bytes())
    whole = decoded.pixels.convert("RGB")
    if decoded.opacity:
        whole.putalpha(decoded.opacity)
    views = [whole, *(crop(whole, rng) for _ in range(CROPS))]
    answers = answer_uploads(classifier, [convert_upload(encoded(view)) for view in views])
    first = answers.probabilities[0]
    return Stranger(
        name=path.name,
        familiarity=tuple(answers.familiarity.tolist()),
        label=classifier.card.labels[first.argmax()],
        probability=float(first.max()),
    )


def crop(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cut out a random rectangle of 35 to 80% of each side."""
    width, height = (
        max(1, int(side * share)) for side, share in zip(picture.size, rng.uniform(0.35, 0.8, 2), strict=True)
    )
    left, top = rng.integers(0, (picture.width - width + 1, picture.height - height + 1)).tolist()
    return picture.crop((left, top, left + width, top + height))


def page(strangers: Sequence[Stranger], threshold: float) -> str:
    """Return the figures as Markdown.

    Args:
        strangers: The results; at least one.
        threshold: The familiarity below which a picture is called unfamiliar.
    """
    whole = [one.familiarity[0] < threshold for one in strangers]
    crops = [familiarity < threshold for one in strangers for familiarity in one.familiarity[1:]]
    low, high = wilson_interval(sum(whole), len(whole))
    rows = [
        ("whole", len(whole), sum(whole), f"{np.mean(whole):.1%}", f"{low:.1%} to {high:.1%}"),
        (f"{CROPS} crops of each", len(crops), sum(crops), f"{np.mean(crops):.1%}", ""),
    ]
    passed = [
        f"{one.name}: {one.label} {one.probability:.0%}, familiarity {one.familiarity[0]:.3f}"
        for one in strangers
        if one.familiarity[0] >= threshold
    ]
    figures = table(("pictures", "n", "called unfamiliar", "share", "95% interval"), rows)
    return "\n".join((figures, "", "Not called unfamiliar:", *passed)) if passed else figures


if __name__ == "__main__":
    main()
