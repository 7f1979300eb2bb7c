"""Finds the picture inside the plain frame of a screenshot, a scan or a print, between bars, or in a figure's axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.imaging.conversion import Box

CORNERS = [0, 0, -1, -1], [0, -1, 0, -1]
"""Rows and columns of the four corners of a picture."""

CORNER_SPREAD = 12
"""The four corners belong to one frame if each channel differs among them by at most this many levels."""

CONTRAST, CONTRAST_SHARE = 14, 0.14
"""A picture differs from its frame, and a garment from a plain background, by more than `CONTRAST` grey levels. Its
outline also differs by more than `CONTRAST_SHARE` of the greatest difference, which keeps out the halo of scaling and
compression."""

STRAIGHT = 0.9
"""More than this share of the second and third line inside each edge of a picture differs from the frame. The outline
of a garment on a plain background is hardly ever that straight."""

MIXED_PIXELS = 2
"""This many lines along the edge of a picture may be mixed with the frame, and are cut off."""

LEAST_PIXELS = 28
"""A picture has at least this many pixels along each side."""

LEAST_EXTENT = 0.85
"""A picture spans at least this share of the width or the height, unlike most clutch bags of a catalogue."""

COLOUR, COLOUR_SHARE = 8, 0.02
"""At least a share of `COLOUR_SHARE` of a picture's values differs from grey by more than `COLOUR` levels. A picture of
greys may be an enlarged image of the data set, and one in sixteen of its trousers is as straight as a photograph."""

LIGHT = 190
"""Lowest level of every channel of a catalogue's background, and of the paper of a figure."""

COARSE_PIXELS = 64
"""Pixels along the shorter side, at least, of the coarse copy on which most garments are told from an image in axes."""

THIN = 0.1
"""What is narrower than this share of a figure's shorter side, such as ticks, is not its image."""

SQUARE, FILLED = 0.02, 0.95
"""The sides of an image in axes differ by at most a share of `SQUARE`, besides the width of the lines of the axes, and
it fills at least `FILLED` of its box."""


def find_picture(colours: NDArray[np.uint8]) -> Box:
    """Find the picture inside a plain frame, between bars on two opposite sides, or in the axes of a figure.

    Args:
        colours: uint8 `[height, width, 3]`.

    Returns:
        The box inside the frame or the axes; the box around everything if there are none.
    """
    height, width = colours.shape[:2]
    everything = 0, 0, width, height
    corners = colours[CORNERS]
    if np.ptp(corners, axis=0).max() > CORNER_SPREAD:
        return everything  # true of nearly every photograph, and known in a hundredth of a millisecond
    grey = np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY), np.uint8)
    frame = np.median(grey[CORNERS])
    difference = np.asarray(cv2.absdiff(grey, np.full_like(grey, frame)), np.uint8)
    return _in_frame(colours, difference) or _in_axes(grey, difference, float(corners.min())) or everything


def _in_frame(colours: NDArray[np.uint8], difference: NDArray[np.uint8]) -> Box | None:
    """Find a picture in a frame, from which each pixel differs by so many grey levels, uint8 `[height, width]`."""
    height, width = difference.shape
    outline = difference > max(CONTRAST, CONTRAST_SHARE * float(difference.max()))
    left, top, across, down = cv2.boundingRect(outline.view(np.uint8))
    right, bottom = left + across, top + down
    if min(across, down) < LEAST_PIXELS or max(across / width, down / height) < LEAST_EXTENT:
        return None
    margins = left, top, width - right, height - bottom
    is_between = min(margins[::2]) > 0 or min(margins[1::2]) > 0
    if not (is_between and _is_straight(difference[top:bottom, left:right] > CONTRAST, margins)):
        return None
    cut = [MIXED_PIXELS if margin else 0 for margin in margins]
    left, top, right, bottom = left + cut[0], top + cut[1], right - cut[2], bottom - cut[3]
    return (left, top, right, bottom) if has_colour(colours[top:bottom, left:right]) else None


def _in_axes(grey: NDArray[np.uint8], difference: NDArray[np.uint8], darkest: float) -> Box | None:
    """Find a square image with a ground of its own in a figure, as `matplotlib.pyplot.imshow` draws it.

    Args:
        grey: uint8 `[height, width]`.
        difference: How much each pixel differs from the corners of the figure.
        darkest: Least level of any channel of these corners.
    """
    step = max(1, min(difference.shape) // COARSE_PIXELS)
    if darkest < LIGHT or _square_piece(difference[::step, ::step]) is None:  # as for most garments
        return None
    largest = _square_piece(difference)
    if largest is None:
        return None
    outline, _ = cv2.findContours(largest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(largest, outline, -1, 1, cv2.FILLED)
    thin = round(THIN * min(filled.shape)) | 1  # an opening by an even side shifts the result in OpenCV
    filled = cv2.morphologyEx(filled, cv2.MORPH_OPEN, np.ones((thin, thin), np.uint8))
    left, top, across, down = cv2.boundingRect(filled)
    if not _is_square(across, down) or filled.sum() < FILLED * across * down:
        return None
    box = left + MIXED_PIXELS, top + MIXED_PIXELS, left + across - MIXED_PIXELS, top + down - MIXED_PIXELS
    image = grey[box[1] : box[3], box[0] : box[2]]
    return box if np.ptp(image[CORNERS]) <= CORNER_SPREAD and np.ptp(image) > CONTRAST else None


def _square_piece(difference: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Return 1 in the largest connected piece that differs, 0 elsewhere; None if there is none or it is not square."""
    _, pieces, boxes, _ = cv2.connectedComponentsWithStats((difference > CONTRAST).view(np.uint8))
    sides = boxes[1:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]  # without piece 0, which does not differ
    if not len(sides):
        return None
    largest = int(sides.prod(axis=1).argmax())
    return (pieces == 1 + largest).view(np.uint8) if _is_square(*sides[largest]) else None


def _is_square(across: int, down: int) -> bool:
    return bool(min(across, down) >= LEAST_PIXELS and abs(across - down) <= SQUARE * max(across, down) + MIXED_PIXELS)


def _is_straight(differs: NDArray[np.bool_], margins: tuple[int, ...]) -> bool:
    """Tell whether a picture ends in straight edges, by where it differs from the frame.

    Args:
        differs: bool `[height, width]`.
        margins: Width of the frame to the left, above, to the right and below; a side without a frame is not checked.
    """
    edges = differs[:, 1:3], differs[1:3], differs[:, -3:-1], differs[-3:-1]
    return all(edge.mean() > STRAIGHT for edge, margin in zip(edges, margins, strict=True) if margin)


def has_colour(colours: NDArray[np.uint8]) -> bool:
    """Tell whether a picture, uint8 `[height, width, 3]`, has colours."""
    grey = cv2.cvtColor(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return bool((cv2.absdiff(colours, grey) > COLOUR).mean() >= COLOUR_SHARE)
