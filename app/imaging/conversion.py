"""Converts upright pixels into the 28x28 image that the model takes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from app.model_card import IMAGE_SHAPE

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE, _ = IMAGE_SHAPE

BORDER_SHARE = 0.03
"""Width of the frame that is taken for ground, as a share of the shorter side."""

GROUND_TOLERANCE = 24
"""Grey levels, of 255, that ground may differ from the border's median."""


class Mode(StrEnum):
    """What a caller may ask for.

    `auto` leaves a grey 28x28 image as it is and converts anything else as a photo; `photo` always converts; `none`
    only resizes.
    """

    AUTO = "auto"
    PHOTO = "photo"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Converted:
    """What the model sees.

    Attributes:
        image: uint8 `[28, 28]`, garment bright on black.
        mode: `native`, `photo` or `none`: what was done.
        steps: How, in order.
    """

    image: NDArray[np.uint8]
    mode: str
    steps: tuple[str, ...]


def convert(pixels: Image.Image, mode: Mode) -> Converted:
    """Convert a picture the way Fashion-MNIST was made from catalogue photographs.

    Args:
        pixels: Upright, of mode `L` or `RGB`.
        mode: What to do.

    Returns:
        The image with the steps taken; the same picture always gives the same image.

    Source:
        Xiao et al., "Fashion-MNIST" (arXiv 1708.07747), section 2.
    """
    grey = _grey(pixels)
    if mode is Mode.AUTO and grey is not None and grey.shape == (SIDE, SIDE):
        return Converted(grey, "native", ())
    values = np.asarray(pixels.convert("L"))
    if mode is Mode.NONE:
        if values.shape == (SIDE, SIDE):
            return Converted(values, "none", ())
        return Converted(_resized(values, SIDE, SIDE), "none", ("resized",))
    return _convert_photo(values)


def _convert_photo(values: NDArray[np.uint8]) -> Converted:
    steps = ["greyscale"]
    ground = _ground_level(values)
    if ground > values.mean():
        # The garment is darker than what it lies on; in the data set it is brighter.
        values, ground = 255 - values, 255 - ground
        steps.append("negated")
    garment = values > ground + GROUND_TOLERANCE
    if garment.any():
        rows, columns = np.flatnonzero(garment.any(axis=1)), np.flatnonzero(garment.any(axis=0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        values = np.where(garment, values, np.uint8(0))[box]
        steps += ["background_removed", "trimmed"]
    else:
        steps.append("no_garment_found")
    return Converted(_fitted(values), "photo", (*steps, "fitted"))


def _grey(pixels: Image.Image) -> NDArray[np.uint8] | None:
    """Return the grey levels of a picture without colour, uint8 `[height, width]`, else None."""
    values = np.asarray(pixels)
    if values.ndim == 2:  # noqa: PLR2004  rows and columns, no channels
        return values
    return values[..., 0] if (values == values[..., :1]).all() else None


def _ground_level(values: NDArray[np.uint8]) -> int:
    """Return the median grey level of the picture's frame."""
    height, width = values.shape
    depth = max(1, round(min(height, width) * BORDER_SHARE))
    frame = np.ones(values.shape, bool)
    frame[depth : height - depth, depth : width - depth] = False
    return int(np.median(values[frame]))


def _fitted(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale the longest edge to 28, keep the aspect, centre on black."""
    height, width = values.shape
    scale = SIDE / max(height, width)
    fitted_height, fitted_width = max(1, round(height * scale)), max(1, round(width * scale))
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    top, left = (SIDE - fitted_height) // 2, (SIDE - fitted_width) // 2
    canvas[top : top + fitted_height, left : left + fitted_width] = _resized(values, fitted_height, fitted_width)
    return canvas


def _resized(values: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BOX))
