"""Gets the outline of a garment wrong, as a segmenter may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from app.imaging.segmentation import separate

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_PIECE, LARGEST_PIECE = 0.04, 0.2
"""Half the length of the piece that is wrong along each of its axes, as a share of the garment's longer side."""


def separate_badly(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32] | None:
    """Find the garment as `separate` does, but for a piece: of the garment taken for ground, or of ground for garment.

    Args:
        pixels: uint8 `[height, width, 3]`.
        rng: Decides which piece, and which of the two.
    """
    share = separate(pixels)
    return None if share is None else misjudge(share, rng)


def misjudge(share: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a mask with an ellipse, somewhere on its outline, that is all garment or all ground.

    Args:
        share: float32 `[height, width]`, which share of each pixel is garment.
        rng: Where the ellipse is drawn from.
    """
    inside = (share > 0.5).astype(np.uint8)  # noqa: PLR2004  more garment than ground
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = np.concatenate(contours)[:, 0]
    centre = rng.choice(outline).tolist()
    axes = rng.uniform(LEAST_PIECE, LARGEST_PIECE, 2) * np.ptp(outline, axis=0).max()
    piece = cv2.ellipse(np.zeros_like(inside), (centre, (2 * axes).tolist(), rng.uniform(0, 180)), 1, -1)
    return np.where(piece, np.float32(rng.integers(2)), share)
