"""`python -m benchmarks.cutouts FOLDER`: are garments on a transparent background classified right, even white ones?

No collection of such pictures is at hand, so they are made from held-out photographs: each garment is cut out as the
service would do it, and saved as PNG. The same picture on white, with nothing transparent, is measured beside it.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from app.imaging.segmentation import separate
from benchmarks.photos import known_photos
from benchmarks.screenshots import measure
from training.markdown import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.classifier import Classifier
    from training.pictures.photos import Photo

PALEST = 225
"""Grey level of the darkest cloth of a bleached garment; the brightest is white."""


def main() -> None:
    """Print the table."""
    classifier, photos = known_photos(argparse.ArgumentParser(prog="python -m benchmarks.cutouts", description=__doc__))
    print(table(("cloth", "on transparent ground: right", "the same on white: right"), rows(photos, classifier)))


def rows(photos: Sequence[Photo], classifier: Classifier) -> list[tuple[str, ...]]:
    """Return the table's rows: garments as they are, and bleached."""
    found: list[tuple[str, ...]] = []
    for cloth, is_bleached in (("as it is", False), ("bleached", True)):
        cut = partial(cut_out, is_bleached=is_bleached)
        shares = (measure(photos, show, classifier)[0] for show in (cut, lambda photo, cut=cut: on_white(cut(photo))))
        found.append((cloth, *(f"{share:.1%}" for share in shares)))
    return found


def cut_out(photo: Image.Image, *, is_bleached: bool) -> Image.Image:
    """Make the background of a photograph transparent, and its garment white if asked to.

    Args:
        photo: The photograph.
        is_bleached: Whether to map the garment's tones to between `PALEST` and white.

    Returns:
        An image of mode `RGBA`, opaque everywhere if no garment is found.
    """
    colours = np.asarray(photo.convert("RGB"))
    height, width = colours.shape[:2]
    garment = separate(colours)
    share = np.ones((height, width)) if garment is None else cv2.resize(garment, (width, height))
    if is_bleached:
        darkest, brightest = np.percentile(colours[share > 0.5], (2, 98))  # noqa: PLR2004  more garment than not
        paler = PALEST + (255 - PALEST) * (colours - darkest) / max(brightest - darkest, 1)
        colours = np.clip(paler, 0, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([colours, np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)]))


def on_white(picture: Image.Image) -> Image.Image:
    """Lay a picture on white, so that no trace of its transparency is left."""
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture)
    return white


if __name__ == "__main__":
    main()
