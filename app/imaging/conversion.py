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

WORKING_PIXELS = 448
"""Larger pictures are averaged down first until their longer side is under twice this: 16 pixels for each of 28."""

TRIMMING_PIXELS = 112
"""Longer side of the copy on which the garment is found; there the noise of compression averages out."""

BORDER_SHARE = 0.03
"""Width of the frame that is taken for ground, as a share of the shorter side."""

GROUND_TOLERANCE = (10, 48)
"""Least and most grey levels that ground may differ from its median; between them the frame's own spread decides."""

FRINGE = 0.6
"""Share of the tolerance under which a pixel of the fitted garment counts as ground."""

SHARPENING = 0.6
"""Share of the difference from the blurred image that is added."""


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
    native = _native(pixels)
    if native is not None and mode is not Mode.PHOTO:
        return Converted(native, "native" if mode is Mode.AUTO else "none", ())
    grey = pixels.convert("L")
    if mode is Mode.NONE:
        return Converted(np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX)), "none", ("resized",))
    return _convert_photo(grey)


def _convert_photo(grey: Image.Image) -> Converted:
    grey = grey.reduce(max(1, max(grey.size) // WORKING_PIXELS))
    contrast, tolerance, is_dark = _contrast_with_ground(np.asarray(grey, np.float32))
    steps = ["greyscale", *(["negated"] if is_dark else []), "background_removed"]
    found = _find_garment(contrast, tolerance)
    if found is None:
        return Converted(np.zeros(IMAGE_SHAPE, np.uint8), "photo", (*steps, "no_garment_found"))
    box, brightest = found
    fitted = _fit(contrast, box)
    # The brightest pixel of every image of the data set is white.
    stretched = np.where(fitted < FRINGE * tolerance, 0, fitted) * (255 / brightest)
    image = np.rint(np.clip(_sharpen(stretched), 0, 255)).astype(np.uint8)
    return Converted(image, "photo", (*steps, "trimmed", "fitted", "stretched", "sharpened"))


def _native(pixels: Image.Image) -> NDArray[np.uint8] | None:
    """Return a picture that has the model's size and no colour as it is, uint8 `[28, 28]`, else None."""
    values = np.asarray(pixels)
    if values.shape[:2] != IMAGE_SHAPE:
        return None
    if values.ndim == len(IMAGE_SHAPE):
        return values
    return values[..., 0] if (values == values[..., :1]).all() else None


def _contrast_with_ground(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool]:
    """Measure how far each pixel is from the ground, towards the side on which the garment is.

    Args:
        values: `[height, width]`, grey levels from 0 to 255.

    Returns:
        float32 `[height, width]`, 0 where there is ground; how much of it noise may make; whether the garment is the
        darker one.
    """
    height, width = values.shape
    depth = max(1, round(min(height, width) * BORDER_SHARE))
    is_frame = np.ones(values.shape, bool)
    is_frame[depth : height - depth, depth : width - depth] = False
    frame = values[is_frame]
    ground = np.median(frame)
    spread = float(np.percentile(np.abs(frame - ground), 95))
    is_dark = bool(ground > values.mean())
    contrast = np.maximum(ground - values if is_dark else values - ground, 0)
    least, most = GROUND_TOLERANCE
    return contrast, min(max(least, spread), most), is_dark


def _find_garment(
    contrast: NDArray[np.float32], tolerance: float
) -> tuple[tuple[float, float, float, float], float] | None:
    """Return the garment's left, top, right and bottom in pixels with its highest contrast, or None."""
    height, width = contrast.shape
    scale = min(1, TRIMMING_PIXELS / max(height, width))
    small = _resize(contrast, max(1, round(height * scale)), max(1, round(width * scale)), Image.Resampling.BOX)
    is_garment = small > tolerance
    if not is_garment.any():
        return None
    rows, columns = np.flatnonzero(is_garment.any(axis=1)), np.flatnonzero(is_garment.any(axis=0))
    down, right = height / small.shape[0], width / small.shape[1]
    box = (columns[0] * right, rows[0] * down, (columns[-1] + 1) * right, (rows[-1] + 1) * down)
    return box, float(np.percentile(small[is_garment], 99.8))


def _fit(contrast: NDArray[np.float32], box: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """Scale the longest edge of a box to 28, keep the aspect, centre on black; float32 `[28, 28]`."""
    left, top, right, bottom = box
    scale = SIDE / max(right - left, bottom - top)
    height, width = max(1, round((bottom - top) * scale)), max(1, round((right - left) * scale))
    canvas = np.zeros(IMAGE_SHAPE, np.float32)
    first_row, first_column = (SIDE - height) // 2, (SIDE - width) // 2
    canvas[first_row : first_row + height, first_column : first_column + width] = _resize(
        contrast, height, width, Image.Resampling.LANCZOS, box
    )
    return canvas


def _sharpen(image: NDArray[np.floating]) -> NDArray[np.floating]:
    """Add a share of what a pixel differs from its neighbours by, where there is a garment."""
    padded = np.pad(image, 1)
    neighbours = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return np.where(image > 0, image + SHARPENING * (image - (neighbours + 4 * image) / 8), 0)


def _resize(
    values: NDArray[np.float32],
    height: int,
    width: int,
    resampling: Image.Resampling,
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(values).resize((width, height), resampling, box))
