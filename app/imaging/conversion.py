"""Converts upright pixels into the 28x28 image that the model takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar, cast

import cv2
import numpy as np
from PIL import Image

from app.imaging.framing import CONTRAST, CONTRAST_SHARE, LIGHT, Box, find_picture, has_colour
from app.imaging.segmentation import garment_of, separate
from app.model_card import IMAGE_SHAPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Separator = Callable[[NDArray[np.uint8]], NDArray[np.float32] | None]

Values = TypeVar("Values", np.uint8, np.float32)

SIDE, _ = IMAGE_SHAPE

WORKING_PIXELS = 256
"""Larger pictures are first averaged down until the longer side is below twice this: over nine for each of 28."""

BORDER_SHARE = 0.03
"""Width of the frame, which is the outermost pixels, as a share of the shorter side."""

PLAIN_SPREAD = 12
"""A background is plain if 95 % of the frame lie within this many grey levels of its median; compression alone causes
about 3."""

DARK = 32
"""Highest level of every channel of a background like the data set's."""

WHITE, BLACK = 247, 8
"""The same as `LIGHT` and `DARK` where the frame is not plain because the garment reaches it, as every garment of the
data set does: half of the frame is this light or this dark, and the picture has no colour."""

TINT = 2
"""Largest difference between the channels of a pixel in a lossy grey picture."""

TRIMMED_PIXELS = 256
"""Longer side, in pixels, of the copy on which a garment is told from a plain background."""

FAINT, MOST_FAINT, MOST_PALER = 7, 2, 0.25
"""Limits beyond which only the print or the seams of a pale shirt were trimmed. A pixel is faint if it differs from a
plain background by at least `FAINT` grey levels, and by more than the background itself varies. The box around the
faint pixels has at most `MOST_FAINT` times the area of the trimmed box, and at most a share of `MOST_PALER` of the
trimmed box is paler than the background."""

GAP, STRAY_SHARE = 0.1, 0.01
"""On a plain background, a piece is a speck if it is farther from the garment than `GAP`, a share of the longer side,
and has at most `STRAY_SHARE` of its area. Two of 5,000 images of the data set lose a piece as a speck or a caption."""

LETTER, CAPTION_SHARE = 0.06, 0.12
"""A piece as far away is a caption if it consists of letters, or of words whose letters touch, of at most `LETTER` of
the longer side in height, and has at most `CAPTION_SHARE` of the garment's area."""

THIN, HOOK_WIDTH, OFF_MIDDLE = 0.04, 0.16, 0.1
"""Shares of the longer side of what was trimmed. A hanger's hook is thinner than `THIN` and at least that high, at most
`HOOK_WIDTH` wide, and at most `OFF_MIDDLE` off the middle. Six of 3,000 images of the data set lose something this way;
none changes its answer."""

FRINGE = 8
"""A pixel of the fitted garment below this grey level counts as background."""

SUBSAMPLING = 3
"""A plain picture is read at the middle third of each of the 28 cells: the data set was subsampled, not averaged."""

MASK_PIXELS = 192
"""Longer side, in pixels, of the copy on which the outline of the opaque part is examined."""

OPAQUE = 127
"""On a transparent background, what is more opaque than this counts as garment; shadows are less opaque."""

RECTANGLE, ELLIPSE = 0.95, 0.96
"""An outline that fills this share of its minimum-area rectangle, or whose intersection over union with the ellipse
inside its box is this large, is a picture's: one that was rotated, has rounded corners or was cut to a circle."""

DARKEST, BRIGHTEST = 40, 255
LEAST_RANGE = 40
"""Levels to which the garment of a photograph is stretched, and the least range assumed for it, so that cloth of one
colour stays calm."""

WITHIN = 0.9
"""A pixel of a photograph with a larger share of garment shows the cloth, unmixed with the background."""


class Mode(StrEnum):
    """How a caller may have a picture converted.

    `auto` leaves an opaque grey 28x28 image as it is and converts anything else according to its background; `photo`
    always separates the garment as in a photograph; `none` only resizes.
    """

    AUTO = "auto"
    PHOTO = "photo"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Converted:
    """What the model sees.

    Attributes:
        image: uint8 `[28, 28]`, garment bright on black.
        mode: `native`, `cut_out`, `bright_on_black`, `catalogue`, `photo` or `none`: what was done.
        steps: The steps taken, in order.
        box: The garment, in pixels of the given picture; None where nothing was cut out.
        colours: uint8 `[height, width, 3]`, a photograph, reduced and without its frame; None for any other picture,
            and where `auto` finds the background plain, even if the picture is then converted as a photograph.
    """

    image: NDArray[np.uint8]
    mode: str
    steps: tuple[str, ...]
    box: Box | None
    colours: NDArray[np.uint8] | None = None


def convert(
    pixels: Image.Image, mode: Mode, opacity: Image.Image | None = None, separator: Separator = separate
) -> Converted:
    """Convert a picture the way Fashion-MNIST was made from catalogue photographs.

    Args:
        pixels: Upright, of mode `L` or `RGB`.
        mode: What to do.
        opacity: Of mode `L` and the same size, 0 where the picture was transparent before it was composited on white;
            None if it was opaque. Only `auto` cuts the garment out by it.
        separator: Finds the garment of a photograph, as `separate` does.

    Returns:
        The image with the steps taken; the same picture always gives the same image.

    Source:
        Xiao et al., "Fashion-MNIST" (arXiv 1708.07747), section 2.
    """
    native = None if opacity else _native(pixels)
    if native is not None and mode is not Mode.PHOTO:
        return Converted(native, "native" if mode is Mode.AUTO else "none", (), None)
    if mode is Mode.NONE:
        resized = pixels.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
        return Converted(
            np.asarray(resized), "none", ("resized",) if pixels.mode == "L" else ("greyscale", "resized"), None
        )
    if opacity and mode is Mode.AUTO and (cut_out := _convert_cut_out(pixels, opacity)):
        return cut_out
    reduction = _reduction(pixels)
    colours = np.asarray(pixels.reduce(reduction).convert("RGB"))
    left, top, right, bottom = find_picture(colours)
    picture = colours[top:bottom, left:right]
    converted = _convert_colours(picture, mode, separator)
    steps = converted.steps if picture.size == colours.size else ("frame_removed", *converted.steps)
    box = converted.box and in_given(converted.box, (left * reduction, top * reduction), reduction, pixels.size)
    return replace(converted, steps=steps, box=box)


def _reduction(pixels: Image.Image) -> int:
    return max(1, max(pixels.size) // WORKING_PIXELS)


def in_given(box: Box, corner: tuple[int, int], reduction: int, size: tuple[int, int]) -> Box:
    """Return a box in pixels of the given picture.

    Args:
        box: In pixels of the part that was converted.
        corner: Left and top of that part in the given picture.
        reduction: How many pixels of the given picture, along each side, one reduced pixel stands for.
        size: Width and height of the given picture.
    """
    left, top, right, bottom = (edge * reduction + start for edge, start in zip(box, corner * 2, strict=True))
    return left, top, min(right, size[0]), min(bottom, size[1])


def _convert_colours(colours: NDArray[np.uint8], mode: Mode, separator: Separator) -> Converted:
    """Convert a picture that has been reduced and freed of its frame.

    Args:
        colours: uint8 `[height, width, 3]`.
        mode: `auto` or `photo`.
        separator: Finds the garment of a photograph.
    """
    grey = _grey(colours)
    kind = "photo" if mode is Mode.PHOTO else _kind_of_ground(colours)
    plain = None if kind == "photo" else _convert_plain(255 - grey if kind == "catalogue" else grey, kind)
    if plain:
        return plain
    # In a photograph, or where lightness does not tell a white shirt from a light background, colours may.
    converted = _convert_photo(grey, separator(colours), "photo")
    return replace(converted, colours=colours) if kind == "photo" else converted


def _grey(colours: NDArray[np.uint8]) -> NDArray[np.float32]:
    return cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _convert_cut_out(pixels: Image.Image, opacity: Image.Image) -> Converted | None:
    """Convert a picture whose background was made transparent, or return None if the outline is a picture's."""
    box = opacity.point(lambda level: 255 * (level > OPAQUE)).getbbox()
    if not box:
        return None
    opaque = np.asarray(shrink(np.asarray(opacity.crop(box)), MASK_PIXELS), np.float32)
    garment = garment_of(opaque / np.float32(255))
    if garment is None or _is_picture(garment > 0.5):  # noqa: PLR2004  more garment than ground
        return None
    part = pixels.crop(box)
    reduction = _reduction(part)
    colours = np.asarray(part.reduce(reduction).convert("RGB"))
    converted = _convert_photo(_grey(colours), garment, "cut_out")
    return replace(converted, box=converted.box and in_given(converted.box, box[:2], reduction, pixels.size))


def _is_picture(mask: NDArray[np.bool_]) -> bool:
    """Tell whether the opaque part, bool `[height, width]`, has the outline of a picture."""
    left, top, right, bottom = _box_around(mask, *mask.shape)
    mask = mask[top:bottom, left:right]
    _, (across, down), _ = cv2.minAreaRect(cv2.findNonZero(mask.astype(np.uint8)))
    rows, columns = (np.linspace(-1, 1, side) for side in mask.shape)
    ellipse = rows[:, None] ** 2 + columns**2 <= 1
    return bool(
        mask.sum() > RECTANGLE * (across + 1) * (down + 1) or (mask & ellipse).sum() > ELLIPSE * (mask | ellipse).sum()
    )


def _native(pixels: Image.Image) -> NDArray[np.uint8] | None:
    """Return the greys of a picture that has the model's size and no colour, uint8 `[28, 28]`, else None."""
    if pixels.size != IMAGE_SHAPE[::-1]:
        return None
    values = np.asarray(pixels)
    if values.ndim == len(IMAGE_SHAPE):
        return values
    is_grey = np.ptp(values, axis=2).max() <= TINT
    return np.asarray(cv2.cvtColor(values, cv2.COLOR_RGB2GRAY), np.uint8) if is_grey else None


def _kind_of_ground(colours: NDArray[np.uint8]) -> str:
    """Tell by the frame's colour and spread whether a picture is `bright_on_black`, `catalogue` or `photo`."""
    frame = _frame(colours).astype(np.float32)
    ground = np.median(frame, axis=0)
    if (ground.max() <= BLACK or ground.min() >= WHITE) and not has_colour(colours):
        return "bright_on_black" if ground.max() <= BLACK else "catalogue"
    if np.percentile(np.abs(frame - ground), 95) > PLAIN_SPREAD:
        return "photo"
    if ground.max() <= DARK:
        return "bright_on_black"
    return "catalogue" if ground.min() >= LIGHT else "photo"


def _frame(values: NDArray[Values]) -> NDArray[Values]:
    """Return the outermost pixels of `[height, width]` or `[height, width, channels]` in one row."""
    height, width = values.shape[:2]
    depth = max(1, round(min(height, width) * BORDER_SHARE))
    sides = values[:depth], values[-depth:], values[:, :depth], values[:, -depth:]
    return np.concatenate([side.reshape(-1, *values.shape[2:]) for side in sides])


def _convert_plain(values: NDArray[np.float32], kind: str) -> Converted | None:
    """Convert a picture with a plain background, or return None if the garment does not stand out.

    Args:
        values: float32 `[height, width]`, 0 to 255, garment brighter than the background.
        kind: `bright_on_black` or `catalogue`.
    """
    difference = values - np.median(_frame(values))
    contrast = np.maximum(difference, 0)
    small = shrink(contrast, TRIMMED_PIXELS)
    garment = _without_strays(small > CONTRAST)
    if not garment.any():
        return None
    most = np.percentile(small[garment], 99.8)  # not that of a caption: a garment may be pale
    box = _box_around(_without_hook(garment & (small > CONTRAST_SHARE * most)), *contrast.shape)
    if _is_print(box, difference):
        return None
    fitted = _fit(contrast, box, SUBSAMPLING)
    # The brightest pixel of every image of the data set is white.
    stretched = np.where(fitted < FRINGE, 0, fitted) * (255 / most)
    image = np.rint(np.clip(stretched, 0, 255)).astype(np.uint8)
    tone = ("greyscale", "negated") if kind == "catalogue" else ("greyscale",)
    return Converted(image, kind, (*tone, "background_removed", "trimmed", "fitted", "stretched"), box)


def _without_strays(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask of what stands out, bool `[height, width]`, without specks and lines of text beside the rest."""
    marked = mask.astype(np.uint8)
    if cv2.connectedComponents(marked)[0] <= 2:  # noqa: PLR2004  the ground and one piece, as mostly
        return mask
    reach = round(GAP * max(mask.shape)) | 1
    # The margin keeps the closing from joining what is near the edge of the picture to that edge.
    margin = cv2.copyMakeBorder(marked, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
    near = cv2.morphologyEx(margin, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))[reach:-reach, reach:-reach]
    count, pieces = cv2.connectedComponents(near)
    areas = np.bincount(pieces[mask], minlength=count)
    kept = (areas > STRAY_SHARE * areas.max()) & ~_are_captions(marked, pieces, areas)
    return np.asarray(mask & kept[pieces])


def _are_captions(marked: NDArray[np.uint8], pieces: cv2.typing.MatLike, areas: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Tell of each piece whether it is a caption: lines of text, wholly above or below the largest piece.

    Text has several parts, each as low as a letter. Where that holds of the largest piece itself, which may be one of
    many stripes, nothing is a caption.
    """
    count, part_of, facts, _ = cv2.connectedComponentsWithStats(marked)
    piece_of = np.zeros(count, int)
    piece_of[part_of] = pieces
    piece_of, tops, heights = piece_of[1:], facts[1:, cv2.CC_STAT_TOP], facts[1:, cv2.CC_STAT_HEIGHT]
    first, last, tallest = np.full(len(areas), len(marked)), np.zeros(len(areas), int), np.zeros(len(areas), int)
    np.minimum.at(first, piece_of, tops)
    np.maximum.at(last, piece_of, tops + heights)
    np.maximum.at(tallest, piece_of, heights)
    are_text = (tallest <= LETTER * max(marked.shape)) & (np.bincount(piece_of, minlength=len(areas)) > 1)
    largest = areas.argmax()
    if are_text[largest]:
        return np.zeros_like(are_text)
    is_apart = (last <= first[largest]) | (first >= last[largest])
    return np.asarray(are_text & is_apart & (areas < CAPTION_SHARE * areas[largest]))


def _without_hook(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask of what stands out, bool `[height, width]`, without the hook of a hanger on top of it.

    A hook is thin and above the middle of something that is taller than wide. The straps of a dress and the handle of a
    bag are as thin, but span a greater width.
    """
    left, top, right, bottom = _box_around(mask, *mask.shape)
    side = max(right - left, bottom - top)
    thin = round(THIN * side) | 1  # an opening by an even side shifts the result in OpenCV
    thick = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((thin, thin), np.uint8))
    neck = int(thick.any(axis=1).argmax())
    if neck < top + thin or bottom - neck < right - left:
        return mask
    first, _, stop, _ = _box_around(mask[:neck], neck, mask.shape[1])
    if stop - first > HOOK_WIDTH * side or abs(first + stop - left - right) > 2 * OFF_MIDDLE * side:
        return mask
    below = mask.copy()
    below[:neck] = False
    return below


def _is_print(box: Box, difference: NDArray[np.float32]) -> bool:
    """Tell whether a box holds only part of the garment, the rest of which is as pale as the background or paler.

    Args:
        box: Around what was trimmed.
        difference: float32 `[height, width]`, by how many grey levels each pixel stands out from the background; below
            0 where it is paler than a light background.
    """
    left, top, right, bottom = box
    either_way = np.abs(difference)
    least = max(FAINT, float(np.percentile(_frame(either_way), 99)))
    if (difference[top:bottom, left:right] < -least).mean() > MOST_PALER:
        return True
    faint = cv2.inRange(either_way, least, np.inf)
    opened = cv2.morphologyEx(faint, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))  # removes grain
    whole = shrink(cast("NDArray[np.uint8]", opened), TRIMMED_PIXELS) > 0
    if not whole.any():
        return False
    first, highest, last, lowest = _box_around(_without_strays(whole), *difference.shape)
    return (last - first) * (lowest - highest) > MOST_FAINT * (right - left) * (bottom - top)


def _convert_photo(grey: NDArray[np.float32], garment: NDArray[np.float32] | None, kind: str) -> Converted:
    """Convert a picture whose garment no single background colour tells apart.

    Args:
        grey: float32 `[height, width]`, 0 to 255.
        garment: What `separate` returns.
        kind: `photo` or `cut_out`.
    """
    height, width = grey.shape
    share = np.ones_like(grey)  # the whole picture is better than nothing
    if garment is not None:
        share = cv2.resize(garment, (width, height)).astype(np.float32)
    inside = share > 0.5  # noqa: PLR2004  more garment than ground
    found = garment is not None and bool(inside.any())
    box = _box_around(inside if found else np.ones_like(inside), height, width)
    left, top, right, bottom = box
    values = 255 - grey[top:bottom, left:right]
    share = share[top:bottom, left:right]
    sample = values[::2, ::2][share[::2, ::2] > WITHIN]
    darkest, brightest = np.percentile(sample if sample.size else values, (3, 97))
    below = np.clip((brightest - values) / max(brightest - darkest, LEAST_RANGE), 0, 1)
    values = share * (BRIGHTEST - (BRIGHTEST - DARKEST) * below)
    image = np.rint(_fit(values, (0, 0, right - left, bottom - top), 1)).astype(np.uint8)
    removed = ("background_removed", "trimmed") if found else ("no_garment_found",)
    return Converted(image, kind, (*removed, "greyscale", "negated", "stretched", "fitted"), box if found else None)


def _box_around(mask: NDArray[np.bool_], height: int, width: int) -> Box:
    """Return the box around what a mask marks, scaled to a picture of the given size."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    down, across = height / mask.shape[0], width / mask.shape[1]
    top, bottom = round(rows[0] * down), round((rows[-1] + 1) * down)
    left, right = round(columns[0] * across), round((columns[-1] + 1) * across)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def shrink(pixels: NDArray[Values], longer_side: int) -> NDArray[Values]:
    """Average pixels down until the longer side has at most `longer_side`.

    Args:
        pixels: uint8 or float32, `[height, width]` or `[height, width, channels]`.
        longer_side: In pixels.
    """
    scale = longer_side / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    return cast("NDArray[Values]", cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA))


def _fit(values: NDArray[np.float32], box: Box, subsampling: int) -> NDArray[np.float32]:
    """Scale the longer side of a box to 28, keeping the aspect ratio, and centre the result on black.

    Args:
        values: float32 `[height, width]`.
        box: What to fit.
        subsampling: Reciprocal of the share of each cell, along each side, that is averaged.

    Returns:
        float32 `[28, 28]`. Where the margins differ by a line, the first is the wider, as in the data set.
    """
    left, top, right, bottom = box
    cell = max(right - left, bottom - top) / SIDE
    window = max(1, round(cell / subsampling))
    averaged = cv2.blur(values, (window, window), borderType=cv2.BORDER_REPLICATE)
    rows, first_row = _lines(top, bottom, cell, len(values))
    columns, first_column = _lines(left, right, cell, values.shape[1])
    canvas = np.zeros(IMAGE_SHAPE, np.float32)
    canvas[first_row : first_row + len(rows), first_column : first_column + len(columns)] = averaged[
        rows[:, None], columns
    ]
    return canvas


def _lines(start: int, stop: int, cell: float, length: int) -> tuple[NDArray[np.intp], int]:
    """Return which rows or columns of a picture to read, and where in the image the first of them goes."""
    count = max(1, round((stop - start) / cell))
    middles = (start + stop - 1) / 2 + (np.arange(count) - (count - 1) / 2) * cell
    return np.clip(np.rint(middles), 0, length - 1).astype(np.intp), (SIDE - count + 1) // 2
