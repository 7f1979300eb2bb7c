"""Gets the outline of a garment wrong, as a segmenter may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from app.imaging.segmentation import separate

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_PIECE, LARGEST_PIECE = 0.04, 0.2
"""Range of the semi-axes of the wrong piece, an ellipse, as a share of the garment's longer side."""


def separate_badly(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32] | None:
    """Find the garment as `separate` does, but with one piece wrong: missing garment or included background.

    Args:
        pixels: uint8 `[height, width, 3]`.
        rng: Draws the piece and the kind of error.
    """
    share = separate(pixels)
    return None if share is None else misjudge(share, rng)


def misjudge(share: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the mask with an ellipse, somewhere on its outline, that is all garment or all background.

    Args:
        share: float32 `[height, width]`, the share of each pixel that is garment.
        rng: Draws the ellipse.
    """
    inside = (share > 0.5).astype(np.uint8)  # noqa: PLR2004  more garment than ground
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = np.concatenate(contours)[:, 0]
    centre = rng.choice(outline).tolist()
    axes = rng.uniform(LEAST_PIECE, LARGEST_PIECE, 2) * np.ptp(outline, axis=0).max()
    piece = cv2.ellipse(np.zeros_like(inside), (centre, (2 * axes).tolist(), rng.uniform(0, 180)), 1, -1)
    return np.where(piece, np.float32(rng.integers(2)), share)
