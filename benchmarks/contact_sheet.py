"""Draws photographs beside the model's input and answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont, ImageOps

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

SIDE = 112
"""Side of each picture in pixels: 4 for each pixel that the model saw."""
GAP, SPACE, MARGIN = 6, 28, 36
"""Pixels between the parts of a cell, between cells, and around all."""
BAR_HEIGHT, TEXT_HEIGHT, TITLE_HEIGHT = 4, 14, 20
CELL_WIDTH = 2 * SIDE + GAP
CELL_HEIGHT = SIDE + GAP + BAR_HEIGHT + GAP + TEXT_HEIGHT
COLUMNS = 6

INK, PALE_INK, GROUND, PANEL = "#1f2328", "#77808a", "#ffffff", "#f1f3f5"
RIGHT_COLOUR, WRONG_COLOUR, OTHER_COLOUR = "#2a7f62", "#c8452f", "#b8bec6"


@dataclass(frozen=True, slots=True)
class Cell:
    """One photograph on the sheet.

    Attributes:
        photograph: The photograph, of any size.
        seen: What the model saw, uint8 `[28, 28]`.
        answer: What the model answered.
        kind: What the photograph shows.
        is_right: Whether the answer is right; None where no answer would be.
    """

    photograph: Image.Image
    seen: NDArray[np.uint8]
    answer: str
    kind: str
    is_right: bool | None


def draw_sheet(title: str, cells: Sequence[Cell]) -> Image.Image:
    """Draw cells row by row below a title, each with a bar: green for right, red for wrong, grey for neither."""
    title_room = TITLE_HEIGHT + SPACE
    rows = math.ceil(len(cells) / COLUMNS)
    width = _start(COLUMNS, CELL_WIDTH) - SPACE + MARGIN
    height = title_room + _start(rows, CELL_HEIGHT) - SPACE + MARGIN
    sheet = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, ImageFont.load_default(TITLE_HEIGHT), anchor="lt")
    for number, cell in enumerate(cells):
        row, column = divmod(number, COLUMNS)
        sheet.paste(draw_cell(cell), (_start(column, CELL_WIDTH), title_room + _start(row, CELL_HEIGHT)))
    return sheet


def draw_cell(cell: Cell) -> Image.Image:
    """Draw the photograph, what the model saw, the bar, and the answer with the kind."""
    drawn = Image.new("RGB", (CELL_WIDTH, CELL_HEIGHT), GROUND)
    drawn.paste(ImageOps.pad(cell.photograph.convert("RGB"), (SIDE, SIDE), color=PANEL), (0, 0))
    drawn.paste(Image.fromarray(cell.seen).resize((SIDE, SIDE), Image.Resampling.NEAREST), (SIDE + GAP, 0))
    draw, font = ImageDraw.Draw(drawn), ImageFont.load_default(TEXT_HEIGHT)
    colour = {True: RIGHT_COLOUR, False: WRONG_COLOUR, None: OTHER_COLOUR}[cell.is_right]
    draw.rectangle((0, SIDE + GAP, CELL_WIDTH - 1, SIDE + GAP + BAR_HEIGHT - 1), colour)
    draw.text((0, CELL_HEIGHT), cell.answer, INK, font, anchor="ld")
    draw.text((CELL_WIDTH, CELL_HEIGHT), cell.kind, PALE_INK, font, anchor="rd")
    return drawn


def _start(place: int, size: int) -> int:
    """Return the distance in pixels from the edge to a row or column of cells."""
    return MARGIN + place * (size + SPACE)
