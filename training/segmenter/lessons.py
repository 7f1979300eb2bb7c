"""What the segmenter learns from: photographs, each with the place of its garment on which several attempts agree."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from app.imaging.segmentation import LEAST_SHARE
from training.config import Distortion
from training.pictures.distortion import distort_with, viewpoint
from training.pictures.photos import decode_photo

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from training.pictures.photos import Photo

    Cut = Callable[[NDArray[np.uint8]], NDArray[np.bool_] | NDArray[np.float32] | None]

LESSON_PIXELS = 192
"""Pixels along each side of a lesson, twice as many as in the segmenter's input."""

ATTEMPTS = 16
"""Number of copies of a photograph that are separated; all but the first are distorted."""

UNDO = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

STRENGTHS = Distortion(blur_pixels=0)
"""How much the copies differ."""


@dataclass(frozen=True, slots=True)
class Lessons:
    """Photographs with their garments.

    Attributes:
        colours: uint8 `[n, 192, 192, 3]`, whatever the photographs' aspect ratios.
        garments: uint8 `[n, 192, 192]`, the share of attempts that found garment there, scaled to 255; attempts that
            found none at all do not count.
    """

    colours: NDArray[np.uint8]
    garments: NDArray[np.uint8]

    def unambiguous(self, most: float) -> Lessons:
        """Return the lessons with a garment whose attempts differ by less than `most`, as a share of its area."""
        shares = self.garments.astype(np.float32) / 255
        area = (shares > 0.5).mean(axis=(1, 2))  # noqa: PLR2004  most attempts
        differing = 2 * np.minimum(shares, 1 - shares).mean(axis=(1, 2))
        kept = (area > LEAST_SHARE) & (differing < most * area)
        return Lessons(self.colours[kept], self.garments[kept])


def teach(photo: Photo, cut: Cut, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Make one lesson: separate distorted copies, undo the distortions, and average.

    A cut by colours fails in different places each time; what most attempts agree on is better than any one of them.
    Attempts that find nothing do not count: they hardly ever mean that there is no garment.

    Args:
        photo: The photograph.
        cut: Takes a picture, uint8 `[height, width, 3]`, and returns a mask of the garment, of any size, or None.
        seed: Decides the distortions.

    Returns:
        The colours, uint8 `[192, 192, 3]`, and the garment, uint8 `[192, 192]`, as in `Lessons`.
    """
    rng = np.random.default_rng([seed, *photo.path.name.encode()])
    whole = np.asarray(decode_photo(photo).convert("RGB"))
    scale = min(1, LESSON_PIXELS / max(whole.shape[:2]))
    colours = cv2.resize(whole, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)
    height, width = colours.shape[:2]
    found, seen = np.zeros((2, height, width), np.float32)
    for attempt in range(ATTEMPTS):
        projection = viewpoint(height, width, STRENGTHS, rng) if attempt else np.eye(3)
        garment = cut(distort_with(projection, colours, STRENGTHS, rng) if attempt else colours)
        if garment is None:
            continue
        shares = cv2.resize(garment.astype(np.float32), (width, height))
        back = partial(cv2.warpPerspective, M=projection, dsize=(width, height), flags=UNDO)
        found += back(shares)
        seen += back(np.ones_like(shares))
    agreed = np.rint(255 * found / np.maximum(seen, 0.5))
    square = LESSON_PIXELS, LESSON_PIXELS
    return cv2.resize(colours, square).astype(np.uint8), cv2.resize(agreed, square).clip(0, 255).astype(np.uint8)
