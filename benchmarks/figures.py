"""`python -m benchmarks.figures`: how often does an image get its label from a figure that matplotlib drew of it?

Learners save what `imshow` shows, with axes and margins. Here images of the validation split are drawn in this way, and
processed like any upload: decoded, converted, recognised in colour where they look like photographs, classified.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from app.classifier import SavedModelClassifier
from app.errors import StartError
from app.imaging.recognition import evidence_in, weigh
from app.settings import Settings
from training.data import find_folder, load
from training.errors import TrainingError
from training.evaluate import in_batches
from training.markdown import table
from training.upload import convert_upload

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.classifier import Classifier
    from training.data import Split

COLOURS = ("gray", "viridis")
"""Names of colour maps: that of most tutorials, and matplotlib's own."""


def draw(image: NDArray[np.uint8], colours: str) -> Figure:
    """Return a figure of an image, uint8 `[28, 28]`, as `matplotlib.pyplot.imshow` draws it by default."""
    figure = Figure()
    figure.subplots().imshow(image, cmap=colours)
    return figure


def measure(classifier: Classifier, split: Split, colours: str | None) -> tuple[float, float]:
    """Return the shares of a split's images that get their label, and that are called familiar.

    Args:
        classifier: A model.
        split: The images.
        colours: The colour map to draw them with; None takes the images themselves.
    """
    card, images, evidence = classifier.card, split.images, None
    if colours is not None:
        converted = [convert_upload(_saved(draw(image, colours))) for image in split.images]
        images = np.stack([one.image for one in converted])
        said = [evidence_in(one.colours, card.labels) for one in converted]
        evidence = np.stack([np.zeros(len(card.labels), np.float32) if one is None else one for one in said])
    answers = in_batches(classifier.classify, images)
    probabilities = answers.probabilities
    if evidence is not None:
        seen = evidence.any(axis=1)
        probabilities[seen] = weigh(probabilities[seen], evidence[seen], card.photo_temperature)
    is_familiar = answers.familiarity >= card.familiarity.threshold
    return float((probabilities.argmax(axis=1) == split.class_ids).mean()), float(is_familiar.mean())


def _saved(figure: Figure) -> bytes:
    figure.savefig(buffer := io.BytesIO(), format="png")
    return buffer.getvalue()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description=__doc__)
    parser.add_argument("--images", type=int, default=500, metavar="N", help="the first N of the split (default: 500)")
    parser.add_argument("--model", type=Path, default=Settings().model_dir, metavar="FOLDER")
    given = parser.parse_args()
    try:
        classifier = SavedModelClassifier(given.model)
        data = load(find_folder(), classifier.card.training.config["split_seed"])
    except (StartError, TrainingError) as error:
        parser.error(str(error))
    split = data.validation.take(slice(given.images))
    print(f"validation split, n = {len(split)}\n")
    measured = {colours or "not drawn": measure(classifier, split, colours) for colours in (None, *COLOURS)}
    rows = [(name, f"{right:.1%}", f"{familiar:.1%}") for name, (right, familiar) in measured.items()]
    print(table(("colours", "right", "familiar"), rows))


if __name__ == "__main__":
    main()
