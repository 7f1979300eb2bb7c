"""`python -m benchmarks.copies`: how often does an image get its label from an enlarged copy, or from a figure of it?

Learners save an image of the data set enlarged, or as what matplotlib's `imshow` shows of it, with axes and margins.
Here images of the validation split are drawn in these ways, and processed like any upload.
"""

from __future__ import annotations

import argparse
import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from PIL import Image, ImageOps

from app.classifier import SavedModelClassifier
from app.errors import StartError
from app.settings import Settings
from training.command import positive
from training.data import find_folder, load
from training.errors import TrainingError
from training.markdown import table
from training.pictures.upload import answer_uploads, convert_upload, encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from app.classifier import Classifier
    from training.data import Split

ENLARGED = (280, 280)


def original(image: NDArray[np.uint8]) -> bytes:
    """Return a PNG file of an image, uint8 `[28, 28]`, as it is."""
    return encoded(Image.fromarray(image))


def enlarged(image: NDArray[np.uint8]) -> bytes:
    """Return a PNG file of an enlarged image."""
    return encoded(Image.fromarray(image).resize(ENLARGED))


def negative(image: NDArray[np.uint8]) -> bytes:
    """Return a PNG file of an enlarged image, black on white."""
    return encoded(ImageOps.invert(Image.fromarray(image).resize(ENLARGED)))


def draw(image: NDArray[np.uint8], colours: str) -> Figure:
    """Return a figure of an image, as `matplotlib.pyplot.imshow` draws it by default with a colour map."""
    figure = Figure()
    figure.subplots().imshow(image, cmap=colours)
    return figure


def drawn(image: NDArray[np.uint8], colours: str) -> bytes:
    """Return a PNG file of a figure of an image."""
    draw(image, colours).savefig(buffer := io.BytesIO(), format="png")
    return buffer.getvalue()


COPIES: dict[str, Callable[[NDArray[np.uint8]], bytes]] = {
    "original": original,
    "enlarged": enlarged,
    "enlarged, black on white": negative,
    "imshow, gray": partial(drawn, colours="gray"),  # as in many tutorials
    "imshow, binary": partial(drawn, colours="binary"),  # as in others
    "imshow, viridis": partial(drawn, colours="viridis"),  # matplotlib's own
}


def measure(classifier: Classifier, split: Split, copy: Callable[[NDArray[np.uint8]], bytes]) -> tuple[float, float]:
    """Return the shares of a split's images that get their label from a copy, and whose copy is called familiar."""
    answers = answer_uploads(classifier, [convert_upload(copy(image)) for image in split.images])
    is_familiar = answers.familiarity >= classifier.card.familiarity.threshold
    return float((answers.probabilities.argmax(axis=1) == split.class_ids).mean()), float(is_familiar.mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.copies", description=__doc__)
    parser.add_argument(
        "--images", type=positive, default=500, metavar="N", help="the first N of the split (default: 500)"
    )
    parser.add_argument("--model", type=Path, default=Settings().model_dir, metavar="FOLDER")
    given = parser.parse_args()
    try:
        classifier = SavedModelClassifier(given.model)
        data = load(find_folder(), classifier.card.training.config["split_seed"])
    except (StartError, TrainingError) as error:
        parser.error(str(error))
    split = data.validation.take(slice(given.images))
    print(f"validation split, n = {len(split)}\n")
    measured = {name: measure(classifier, split, copy) for name, copy in COPIES.items()}
    rows = [(name, f"{right:.1%}", f"{familiar:.1%}") for name, (right, familiar) in measured.items()]
    print(table(("copy", "right", "familiar"), rows))


if __name__ == "__main__":
    main()
