"""Finds the picture inside the plain frame of a screenshot, a scan or a print, between bars, or in a figure's axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels; right and bottom are exclusive."""

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
"""Pixels along the shorter side, at least, of the coarse copy on which most garments are told from pictures."""

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
    step = max(1, min(height, width) // COARSE_PIXELS)
    widened = np.asarray(cv2.dilate(difference, np.ones((step, step), np.uint8)), np.uint8)  # or thin lines are lost
    coarse = widened[::step, ::step]
    picture = _in_frame(colours, difference, coarse)
    if picture is None and corners.min() >= LIGHT and _square_piece(coarse, LEAST_PIXELS // step) is not None:
        picture = _in_axes(grey, difference)
    return picture or everything


def _in_frame(colours: NDArray[np.uint8], difference: NDArray[np.uint8], coarse: NDArray[np.uint8]) -> Box | None:
    """Find a picture in a frame, which may have a caption, a clock or buttons on it.

    Args:
        colours: uint8 `[height, width, 3]`.
        difference: uint8 `[height, width]`, by how many grey levels each pixel differs from the frame.
        coarse: The same for a coarse copy.
    """
    least = max(CONTRAST, CONTRAST_SHARE * float(difference.max()))
    outline = difference > least
    margins = _straight_margins(difference, _corners(cv2.boundingRect(outline.view(np.uint8))))
    if margins is None:
        on_copy = _largest_piece(coarse > least)
        if on_copy is None or _straight_margins(coarse, on_copy[1]) is None:
            return None
        piece = _largest_piece(outline)
        margins = piece and _straight_margins(difference, piece[1])
    if margins is None:
        return None
    height, width = difference.shape
    left, top, right, bottom = (margin + MIXED_PIXELS if margin else 0 for margin in margins)
    box = left, top, width - right, height - bottom
    is_large = min(box[2] - left, box[3] - top) >= LEAST_PIXELS - 2 * MIXED_PIXELS
    return box if is_large and has_colour(colours[top : box[3], left : box[2]]) else None


def _in_axes(grey: NDArray[np.uint8], difference: NDArray[np.uint8]) -> Box | None:
    """Find a square image with a ground of its own in a figure, as `matplotlib.pyplot.imshow` draws it.

    Args:
        grey: uint8 `[height, width]`.
        difference: How much each pixel differs from the corners of the figure.
    """
    largest = _square_piece(difference, LEAST_PIXELS)
    if largest is None:
        return None
    outline, _ = cv2.findContours(largest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(largest, outline, -1, 1, cv2.FILLED)
    thin = round(THIN * min(filled.shape)) | 1  # an opening by an even side shifts the result in OpenCV
    filled = cv2.morphologyEx(filled, cv2.MORPH_OPEN, np.ones((thin, thin), np.uint8))
    left, top, right, bottom = _corners(cv2.boundingRect(filled))
    across, down = right - left, bottom - top
    if not _is_square(across, down, LEAST_PIXELS) or filled.sum() < FILLED * across * down:
        return None
    box = left + MIXED_PIXELS, top + MIXED_PIXELS, right - MIXED_PIXELS, bottom - MIXED_PIXELS
    image = grey[box[1] : box[3], box[0] : box[2]]
    return box if np.ptp(image[CORNERS]) <= CORNER_SPREAD and np.ptp(image) > CONTRAST else None


def _square_piece(difference: NDArray[np.uint8], least: int) -> NDArray[np.uint8] | None:
    """Return the largest piece that differs, unless it is not square or smaller than `least` pixels a side."""
    piece = _largest_piece(difference > CONTRAST)
    if piece is None:
        return None
    mask, (left, top, right, bottom) = piece
    return mask if _is_square(right - left, bottom - top, least) else None


def _largest_piece(differs: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], Box] | None:
    """Return the connected piece with the largest box, 1 in the piece and 0 elsewhere, and its box; None if none."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(differs.view(np.uint8))
    boxes = stats[1:, :4]  # without piece 0, which does not differ
    if not len(boxes):
        return None
    largest = int(boxes[:, 2:].prod(axis=1).argmax())
    return (pieces == 1 + largest).view(np.uint8), _corners(boxes[largest].tolist())


def _corners(rectangle: Sequence[int]) -> Box:
    """Turn OpenCV's left, top, width and height into a box."""
    left, top, across, down = rectangle
    return left, top, left + across, top + down


def _is_square(across: int, down: int, least: int) -> bool:
    return min(across, down) >= least and abs(across - down) <= SQUARE * max(across, down) + MIXED_PIXELS


def _straight_margins(difference: NDArray[np.uint8], box: Box) -> Box | None:
    """Return the widths of the frame around a box: left, top, right, bottom; None if the box is not a picture's."""
    height, width = difference.shape
    left, top, right, bottom = box
    margins = left, top, width - right, height - bottom
    is_between = min(margins[::2]) > 0 or min(margins[1::2]) > 0
    is_wide = max((right - left) / width, (bottom - top) / height) >= LEAST_EXTENT
    has_edges = min(right - left, bottom - top) > MIXED_PIXELS
    is_picture = (
        is_between and is_wide and has_edges and _is_straight(difference[top:bottom, left:right] > CONTRAST, margins)
    )
    return margins if is_picture else None


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
