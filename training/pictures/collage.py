"""Makes pictures that show no garment: pieces of photographs laid over one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LEAST_SIDE, MOST_SIDE = 240, 400


def collage(pictures: Sequence[NDArray[np.uint8]], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cut a piece out of each picture, and lay the other pieces on that of the first.

    What a segmenter finds there has the cloth, the light and the grain of photographs, but the shape of no garment.

    Args:
        pictures: At least one, each uint8 `[height, width, 3]`.
        rng: Draws the pieces and their places.

    Returns:
        uint8 `[height, width, 3]`, each side 240 to 400 pixels.
    """
    size = rng.integers(LEAST_SIDE, MOST_SIDE + 1, 2).tolist()
    ground, *pieces = (cv2.resize(_piece(picture, rng), size) for picture in pictures)
    for piece in pieces:
        inside = _blob(size, rng)
        ground[inside] = piece[inside]
    return np.asarray(ground, np.uint8)


def _piece(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cut out a rectangle of 15 to 60% of each side."""
    sides = np.array(picture.shape[:2])
    lengths = np.maximum(1, (sides * rng.uniform(0.15, 0.6, 2)).astype(int))
    top, left = rng.integers(0, sides - lengths + 1)
    return picture[top : top + lengths[0], left : left + lengths[1]]


def _blob(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw an ellipse or a polygon at a random place, bool `[height, width]`; part of it may lie outside."""
    mask = np.zeros(size[::-1], np.uint8)
    centre = rng.uniform(0, 1, 2) * size
    radii = rng.uniform(0.1, 0.4, 2) * size
    if rng.random() < 0.5:  # noqa: PLR2004  a coin
        cv2.ellipse(mask, centre.astype(int).tolist(), radii.astype(int).tolist(), rng.uniform(0, 180), 0, 360, 1, -1)
    else:
        corners = centre + rng.uniform(-1, 1, (rng.integers(3, 7), 2)) * radii
        cv2.fillPoly(mask, [corners.astype(np.int32)], 1)
    return mask.astype(bool)
