"""Finds the picture inside a plain frame: of a screenshot, of a scan or print, between bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.imaging.conversion import Box

CORNER_SPREAD = 12
"""Grey levels within which each channel of the four corners lies where they belong to one frame."""

CONTRAST, CONTRAST_SHARE = 14, 0.14
"""A picture differs from its frame, and a garment from a plain ground, by at least these grey levels; to find where it
ends, by this share of the most it differs by as well. The share keeps out the halo of scaling and compression."""

STRAIGHT = 0.9
"""Of the second and third line inside each edge of a picture more than this share differs from the frame: the outline
of a garment on a plain ground is hardly ever as straight."""

MIXED_PIXELS = 2
"""So many lines along the edge of a picture may be mixed with the frame, and are cut off."""

LEAST_PIXELS = 28
"""A picture has at least as many pixels along each side."""

LEAST_EXTENT = 0.85
"""A picture takes at least this share of the width or the height, unlike most clutch bags of a catalogue."""

COLOUR, COLOUR_SHARE = 8, 0.02
"""Of the values of a picture at least this share differs by more than these levels from grey. What is all grey may be
an enlarged image of the data set, and one in sixteen of its trousers is as straight as a photograph."""


def find_picture(colours: NDArray[np.uint8]) -> Box:
    """Find the picture that a plain frame surrounds, or bars on two opposite sides of it.

    Args:
        colours: uint8 `[height, width, 3]`.

    Returns:
        The box inside the frame; around everything where there is no frame.
    """
    height, width = colours.shape[:2]
    everything = 0, 0, width, height
    corners = colours[[0, 0, -1, -1], [0, -1, 0, -1]]
    if np.ptp(corners, axis=0).max() > CORNER_SPREAD:
        return everything  # as nearly every photograph, in a hundredth of a millisecond
    grey = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)
    frame = np.median(grey[[0, 0, -1, -1], [0, -1, 0, -1]])
    difference = cv2.absdiff(grey, np.full_like(grey, frame))
    outline = difference > max(CONTRAST, CONTRAST_SHARE * float(difference.max()))
    left, top, across, down = cv2.boundingRect(outline.view(np.uint8))
    right, bottom = left + across, top + down
    if min(across, down) < LEAST_PIXELS or max(across / width, down / height) < LEAST_EXTENT:
        return everything
    margins = left, top, width - right, height - bottom
    is_between = min(margins[::2]) > 0 or min(margins[1::2]) > 0
    if not (is_between and _is_straight(difference[top:bottom, left:right] > CONTRAST, margins)):
        return everything
    cut = [MIXED_PIXELS if margin else 0 for margin in margins]
    left, top, right, bottom = left + cut[0], top + cut[1], right - cut[2], bottom - cut[3]
    return (left, top, right, bottom) if has_colour(colours[top:bottom, left:right]) else everything


def _is_straight(differs: NDArray[np.bool_], margins: tuple[int, ...]) -> bool:
    """Tell whether a picture, of which it is known where it differs from the frame, ends in straight edges.

    Args:
        differs: bool `[height, width]`.
        margins: Width of the frame to the left, above, to the right and below; where there is none nothing is asked.
    """
    edges = differs[:, 1:3], differs[1:3], differs[:, -3:-1], differs[-3:-1]
    return all(edge.mean() > STRAIGHT for edge, margin in zip(edges, margins, strict=True) if margin)


def has_colour(colours: NDArray[np.uint8]) -> bool:
    """Tell whether a picture, uint8 `[height, width, 3]`, is more than greys."""
    grey = cv2.cvtColor(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return bool((cv2.absdiff(colours, grey) > COLOUR).mean() >= COLOUR_SHARE)
