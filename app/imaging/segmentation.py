"""Separates the garment of a photograph from its background."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from app.imaging.onnx_network import OnnxNetwork

if TYPE_CHECKING:
    from numpy.typing import NDArray

cv2.setNumThreads(1)  # the service converts as many pictures at a time as there are cores

SIDE = 96
"""Pixels along each side of the copy that the network looks at: more than three for each of 28."""

LEAST_PIXELS = 8
"""A picture with fewer pixels than this along a side has no inside to speak of."""

LEAST_SHARE = 0.02
"""A garment covers at least this share of the picture."""

COMPANION_SHARE = 0.15
"""A piece, like the second shoe, belongs to the garment if its weight is at least this share of the heaviest one's."""

CENTRALITY = 0.35
"""Standard deviation of the Gaussian that weights pixels by their distance from the centre, as a share of each side."""

HOLE_SHARE = 0.08
"""Largest hole that is filled, as a share of the garment: a print is, the inside of a handle is not."""


class Segmenter(OnnxNetwork):
    """The network of `training.segmenter`."""

    side = SIDE
    purpose = "finds garments"
    remedy = "Train the model again."

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return how likely each pixel is to be garment.

        Args:
            pixels: uint8 `[height, width, 3]`.

        Returns:
            float32 `[96, 96]`, 0 to 1, whatever the picture's aspect ratio.
        """
        # The four channels are the quarters of each pixel of a 48x48 grid.
        quarters = self.look_at(pixels).reshape(2, 2, SIDE // 2, SIDE // 2)
        logits = quarters.transpose(2, 0, 3, 1).reshape(SIDE, SIDE)
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


SEGMENTER = Segmenter(Path(__file__).with_name("segmenter.onnx"))


def separate(pixels: NDArray[np.uint8], segmenter: Segmenter = SEGMENTER) -> NDArray[np.float32] | None:
    """Find the garment in a photograph.

    The same pixels always give the same answer.

    Args:
        pixels: uint8 `[height, width, 3]`.
        segmenter: Tells the garment from the background.

    Returns:
        float32 `[96, 96]`, whatever the picture's aspect ratio: the share of each pixel that is garment. None if there
        is no garment.
    """
    if min(pixels.shape[:2]) < LEAST_PIXELS:
        return None
    return garment_of(segmenter(pixels))


def garment_of(likely: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Keep the one piece, or the pieces that belong together, of what may be garment.

    Args:
        likely: float32 `[height, width]`, how likely each pixel is garment, or how much of it.

    Returns:
        float32 `[height, width]`, 0 outside those pieces; None if there is no garment.
    """
    inside = likely > 0.5  # noqa: PLR2004  more likely than not
    garment = tidy(inside)
    if garment.mean() < LEAST_SHARE:
        return None
    share = np.where(garment & ~inside, np.float32(1), likely)  # where a hole was filled
    share[cv2.dilate(garment.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0] = 0
    return share


def tidy(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the pieces that belong together and fill their small holes.

    Args:
        mask: bool `[height, width]`.

    Returns:
        bool `[height, width]`.
    """
    height, width = mask.shape
    count, pieces = cv2.connectedComponents(mask.astype(np.uint8))
    weight_of = np.bincount(np.ravel(pieces), np.outer(_bell(height), _bell(width)).ravel(), count)
    weight_of[0] = 0  # the background
    kept = mask & (weight_of >= COMPANION_SHARE * weight_of.max())[pieces]
    count, holes, facts, _ = cv2.connectedComponentsWithStats((~kept).astype(np.uint8), connectivity=4)
    is_hole = facts[:, cv2.CC_STAT_AREA] <= HOLE_SHARE * kept.sum()
    is_hole[np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])] = False  # background cut off at a corner
    filled: NDArray[np.bool_] = kept | is_hole[holes]
    return filled


def _bell(length: int) -> NDArray[np.float64]:
    """Return weights that fall off from the middle, float64 `[length]`."""
    distance = (np.arange(length) - (length - 1) / 2) / (CENTRALITY * length)
    return np.exp(-(distance**2) / 2)
