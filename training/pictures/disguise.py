"""Disguises images of the data set as catalogue pictures like those that they were made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from training.pictures.upload import encoded

if TYPE_CHECKING:
    from numpy.typing import NDArray

JPEG_QUALITY = 75
GROUNDS = {"white": (255.0, 255.0), "pale": (215.0, 255.0)}
GARMENTS = {"black": (0.0, 0.0), "tinted": (0.0, 70.0)}
"""Range of each channel, in grey levels, for the background and for the garment where the original is white."""

RESAMPLINGS = (
    Image.Resampling.NEAREST,
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)


def disguise(image: NDArray[np.uint8], ground: str, garment: str, rng: np.random.Generator) -> bytes:
    """Turn an image into a catalogue picture.

    Args:
        image: uint8 `[28, 28]`, garment bright on black.
        ground: One of `GROUNDS`.
        garment: One of `GARMENTS`.
        rng: Draws the colours, the scale (3 to 20), the resampling filter and the margins (5 % to 60 % of the side).

    Returns:
        A JPEG of a dark garment, off-centre on a light background.
    """
    side = round(len(image) * rng.uniform(3, 20))
    resampling = RESAMPLINGS[rng.integers(len(RESAMPLINGS))]
    garment_share = np.asarray(Image.fromarray(image).resize((side, side), resampling), np.float32)[..., None] / 255
    ground_colour = rng.uniform(*GROUNDS[ground], 3).astype(np.float32)
    garment_colour = rng.uniform(*GARMENTS[garment], 3).astype(np.float32)
    top, bottom, left, right = (int(margin) for margin in rng.uniform(0.05, 0.6, 4) * side)
    canvas = np.tile(ground_colour, (top + side + bottom, left + side + right, 1))
    canvas[top : top + side, left : left + side] += garment_share * (garment_colour - ground_colour)
    return encoded(Image.fromarray(np.rint(canvas).astype(np.uint8)), "JPEG", quality=JPEG_QUALITY)
