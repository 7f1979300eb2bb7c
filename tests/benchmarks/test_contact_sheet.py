from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageColor

from app.model_card import IMAGE_SHAPE
from benchmarks.contact_sheet import (
    CELL_HEIGHT,
    CELL_WIDTH,
    COLUMNS,
    OTHER_COLOUR,
    RIGHT_COLOUR,
    SIDE,
    WRONG_COLOUR,
    Cell,
    draw_cell,
    draw_sheet,
)

COLOURS = {True: RIGHT_COLOUR, False: WRONG_COLOUR, None: OTHER_COLOUR}


def cell(*, is_right: bool | None, size: tuple[int, int] = (30, 40)) -> Cell:
    seen = np.arange(28 * 28, dtype=np.uint16).reshape(IMAGE_SHAPE).astype(np.uint8)
    return Cell(Image.new("RGB", size, "blue"), seen, "Dress 93%", "dress", is_right=is_right)


def places(sheet: Image.Image, colour: str) -> list[tuple[int, int]]:
    """Return the left and top edge of each bar of a colour, row by row."""
    is_bar = (np.asarray(sheet) == ImageColor.getrgb(colour)).all(axis=2)
    starts = is_bar & ~np.roll(is_bar, 1, axis=0) & ~np.roll(is_bar, 1, axis=1)
    return [(int(x), int(y)) for y, x in np.argwhere(starts)]


@pytest.mark.parametrize("is_right", [True, False, None])
def test_a_cell_has_one_bar_as_wide_as_both_pictures(*, is_right: bool | None) -> None:
    drawn = draw_cell(cell(is_right=is_right))
    assert drawn.size == (CELL_WIDTH, CELL_HEIGHT)
    rows = (np.asarray(drawn) == ImageColor.getrgb(COLOURS[is_right])).all(axis=2).sum(axis=1)
    assert rows[rows > CELL_WIDTH // 2].tolist() == [CELL_WIDTH] * 4


def test_a_cell_shows_each_pixel_that_the_model_saw_as_4x4_pixels() -> None:
    one = cell(is_right=True)
    seen = np.asarray(draw_cell(one).crop((CELL_WIDTH - SIDE, 0, CELL_WIDTH, SIDE)).convert("L"))
    assert np.array_equal(seen, one.seen.repeat(4, axis=0).repeat(4, axis=1))


@pytest.mark.parametrize(("size", "expected"), [((30, 40), (84, 112)), ((400, 200), (112, 56))])
def test_a_photograph_is_shown_whole_in_the_middle(size: tuple[int, int], expected: tuple[int, int]) -> None:
    shown = np.asarray(draw_cell(cell(is_right=True, size=size)).crop((0, 0, SIDE, SIDE)))
    rows, columns = np.nonzero((shown == (0, 0, 255)).all(axis=2))
    left, top, right, bottom = (int(edge) for edge in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    assert (right - left, bottom - top) == expected
    assert (left + right, top + bottom) == (SIDE, SIDE)


def test_the_cells_are_arranged_in_rows_with_even_margins() -> None:
    sheet = draw_sheet("title", [cell(is_right=False), *[cell(is_right=True)] * COLUMNS, cell(is_right=None)])
    ((left, top),) = places(sheet, WRONG_COLOUR)
    green, ((grey, _),) = places(sheet, RIGHT_COLOUR), places(sheet, OTHER_COLOUR)
    step = green[0][0] - left
    assert green[:-1] == [(left + step * column, top) for column in range(1, COLUMNS)]
    assert green[-1][0] == left
    assert grey == left + step
    right_margin = sheet.width - (green[COLUMNS - 2][0] + CELL_WIDTH)
    assert right_margin == left
    assert sheet.getpixel((sheet.width - 1, sheet.height - 1)) == (255, 255, 255)


def test_a_cell_says_the_answer_and_the_kind() -> None:
    one = cell(is_right=None)
    (answer, kind), (other_answer, same_kind), (same_answer, other_kind) = (
        np.hsplit(np.asarray(draw_cell(said).convert("L"))[SIDE + 10 :], 2)
        for said in (one, replace(one, answer="Coat 93%"), replace(one, kind="coat"))
    )
    assert answer.min() < 80 < kind.min() < 180
    assert np.array_equal(answer, same_answer)
    assert np.array_equal(kind, same_kind)
    assert not np.array_equal(answer, other_answer)
    assert not np.array_equal(kind, other_kind)
