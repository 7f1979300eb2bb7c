"""Separates a garment from its background by colours alone: the segmenter's first teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from app.imaging.conversion import BORDER_SHARE, shrink
from app.imaging.segmentation import LEAST_PIXELS, tidy

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEGMENTED_PIXELS = 72
"""Longer side of the copy that is separated: over two pixels for each of the 28. Time grows with its square."""

NEAR_GROUND = 0.2
"""Pixels nearer to a colour of the frame than this share of Otsu's threshold start as background. One cut from there is
as good as two that start from the whole inside."""

COLOURS, COLOUR_SAMPLES, COLOUR_ROUNDS = 5, 400, 4
"""Number of groups of the frame's colours, of pixels that they are found from, and of rounds of k-means."""

LEAST_SHARE, SURE_SHARE = 0.02, 0.3
"""A garment covers at least the first share of the picture; below the second, another cut is tried."""


def separate(pixels: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """Find the garment by the colours of the frame and of the inside.

    The same pixels always give the same answer.

    Args:
        pixels: uint8 `[height, width, 3]`.

    Returns:
        Where the garment is: bool, at most `SEGMENTED_PIXELS` along the longer side. None if there is nothing to
        separate.

    Source:
        Rother, Kolmogorov and Blake, "GrabCut" (SIGGRAPH 2004): two colour mixtures and a cut along edges.
    """
    small = shrink(pixels, SEGMENTED_PIXELS)
    if min(small.shape[:2]) < LEAST_PIXELS:
        return None
    # Distances in Lab are closer to what the eye sees than those in RGB.
    small = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.uint8)
    near, inside = _first_guesses(small)
    garment = _cut(small, near)
    if garment.mean() < SURE_SHARE:
        garment = max(garment, _cut(small, inside), key=np.count_nonzero)
    return garment if garment.mean() >= LEAST_SHARE else None


def _first_guesses(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Guess which pixels are garment: those unlike the frame's colours, or all inside the frame.

    Returns:
        Both guesses as OpenCV's marks, uint8 `[height, width]`; the frame is certain background.
    """
    height, width = pixels.shape[:2]
    depth = max(1, round(min(height, width) * BORDER_SHARE))
    inside = slice(depth, height - depth), slice(depth, width - depth)
    all_inside = np.full((height, width), cv2.GC_BGD, np.uint8)
    all_inside[inside] = cv2.GC_PR_FGD
    apart = pixels[inside].astype(np.float32)[..., None, :] - _middles(pixels[all_inside == cv2.GC_BGD])
    distance = np.sqrt((apart**2).sum(axis=-1).min(axis=-1)).clip(0, 255).astype(np.uint8)
    threshold, _ = cv2.threshold(distance, 0, 255, cv2.THRESH_OTSU)
    unlike_frame = all_inside.copy()
    unlike_frame[inside][distance <= NEAR_GROUND * threshold] = cv2.GC_PR_BGD
    return unlike_frame, all_inside


def _cut(pixels: NDArray[np.uint8], guess: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Learn the colours of both sides of a guess, and return the garment of the best cut between them."""
    if not (guess == cv2.GC_PR_FGD).any():
        return np.zeros(guess.shape, bool)
    cv2.setRNGSeed(0)  # this thread's: the mixtures start from k-means, whose first centres are drawn
    ground, garment = np.zeros((1, 65)), np.zeros((1, 65))  # where OpenCV writes its mixtures
    marks, _, _ = cv2.grabCut(pixels, guess, (0, 0, 0, 0), ground, garment, 1, cv2.GC_INIT_WITH_MASK)
    return tidy(np.equal(marks, cv2.GC_PR_FGD))


def _middles(colours: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Group colours, uint8 `[n, 3]`, and return the mean of each group, float32 `[5, 3]`."""
    samples = colours[:: max(1, len(colours) // COLOUR_SAMPLES)].astype(np.float32)
    cv2.setRNGSeed(0)  # the first centres are drawn here too
    rounds = (cv2.TERM_CRITERIA_MAX_ITER, COLOUR_ROUNDS, 0)
    _, _, middles = cv2.kmeans(samples, COLOURS, None, rounds, 1, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]  # OpenCV's stub forgets that it may be None
    return np.asarray(middles, np.float32)
