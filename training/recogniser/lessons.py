"""What the recogniser learns from: many versions of photographs, half with the garment on another background."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from app.imaging.segmentation import separate
from training.config import Distortion
from training.pictures.distortion import distort
from training.pictures.photos import decode_photo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.pictures.photos import Photo

LESSON_PIXELS = 192
"""Pixels along each side of a lesson, a fifth more than the recogniser's input."""

STRENGTHS = replace(Distortion(), blur_pixels=1.5)
"""How much the versions differ; the picture is smaller, so the blur is smaller too."""

NEAR = 9
"""Side of the square, in a lesson's pixels, that widens a garment before the rest is used as background."""

FAINT = 0.15
"""A pixel with a larger share of garment than this is not background."""


def lessons_of(photo: Photo, others: Sequence[Photo], ways: int, seed: int) -> NDArray[np.uint8]:
    """Return a photograph and distorted versions, every other one with its garment on another photograph's background.

    The background says nothing about the kind of a garment, though within one collection it may seem to.

    Args:
        photo: The photograph.
        others: Photographs to take backgrounds from.
        ways: Number of distorted versions.
        seed: Decides the distortions and the backgrounds.

    Returns:
        uint8 `[1 + ways, 192, 192, 3]`.
    """
    rng = np.random.default_rng([seed, *photo.path.name.encode()])
    whole = _small(photo)
    garment = _share(whole)
    lessons = [whole]
    for way in range(ways):
        picture = whole
        if way % 2 and garment is not None:
            ground = distort(_ground(others[int(rng.integers(len(others)))]), STRENGTHS, rng)
            picture = np.rint(ground + garment[..., None] * (whole - ground.astype(np.float32))).astype(np.uint8)
        lesson = distort(picture, STRENGTHS, rng)
        lessons.append(lesson[:, ::-1] if rng.random() < 0.5 else lesson)  # noqa: PLR2004  a coin
    return np.stack(lessons)


def _small(photo: Photo) -> NDArray[np.uint8]:
    whole = np.asarray(decode_photo(photo).convert("RGB"))
    return np.asarray(cv2.resize(whole, (LESSON_PIXELS, LESSON_PIXELS), interpolation=cv2.INTER_AREA), np.uint8)


def _share(picture: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """Return the share of each pixel that is garment, float32 `[192, 192]`; None if no garment is found."""
    garment = separate(picture)
    return None if garment is None else np.asarray(cv2.resize(garment, (LESSON_PIXELS, LESSON_PIXELS)), np.float32)


def _ground(photo: Photo) -> NDArray[np.uint8]:
    """Return a photograph with its garment painted over, uint8 `[192, 192, 3]`."""
    picture = _small(photo)
    garment = _share(picture)
    if garment is None:
        return picture
    hidden = cv2.dilate((garment > FAINT).astype(np.uint8), np.ones((NEAR, NEAR), np.uint8))
    return np.asarray(cv2.inpaint(picture, hidden, 3, cv2.INPAINT_TELEA), np.uint8)
