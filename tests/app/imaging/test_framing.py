from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from app.imaging.conversion import Mode, convert
from app.imaging.decode import decode
from app.imaging.framing import find_picture
from benchmarks.copies import draw
from tests.app.imaging.test_conversion import shirt_mask
from tests.conftest import encoded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.imaging.framing import Box
    from training.data import Data

TROUSER = 1

FRAMES = {
    "all around": (10, 8, 12, 14),
    "as of a Polaroid": (8, 8, 8, 30),
    "above and below": (0, 60, 0, 70),
    "to the left and right": (40, 0, 50, 0),
    "letterbox with a margin": (6, 80, 6, 80),
    "on three sides": (12, 10, 0, 14),
}
"""Widths in pixels: left, top, right, bottom."""

PICTURE = np.random.default_rng(0).integers(60, 200, (150, 110, 3), np.uint8)


def framed(picture: NDArray[np.uint8], widths: Box, colour: int = 0) -> NDArray[np.uint8]:
    left, above, right, below = widths
    return np.pad(picture, ((above, below), (left, right), (0, 0)), constant_values=colour)


def whole(colours: NDArray[np.uint8]) -> Box:
    return 0, 0, colours.shape[1], colours.shape[0]


@pytest.mark.parametrize("colour", [0, 25, 235, 255])
@pytest.mark.parametrize("widths", FRAMES.values(), ids=FRAMES)
def test_the_picture_in_a_frame_is_found_less_its_outermost_lines(widths: Box, colour: int) -> None:
    left, above, right, below = (width + 2 if width else 0 for width in widths)
    colours = framed(PICTURE, widths, colour)
    height, width = colours.shape[:2]
    assert find_picture(colours) == (left, above, width - right, height - below)


def labelled(widths: Box, colour: int) -> NDArray[np.uint8]:
    """Return the picture, enlarged, in a frame with two words above it and a line below it."""
    picture = np.asarray(Image.fromarray(PICTURE).resize((440, 600)))
    frame = Image.fromarray(framed(picture, widths, colour))
    draw = ImageDraw.Draw(frame)
    for place, text in (((12, 8), "9:41"), ((330, 8), "5G 87%")):
        draw.text(place, text, fill=(255 - colour,) * 3, font=ImageFont.load_default(20))
    draw.line((150, frame.height - 10, 300, frame.height - 10), fill=(255 - colour,) * 3, width=5)
    return np.asarray(frame)


@pytest.mark.parametrize("colour", [0, 255])
@pytest.mark.parametrize("widths", [(0, 60, 0, 50), (20, 40, 20, 80), (1, 120, 30, 40)])
def test_words_and_lines_on_a_frame_do_not_hide_its_picture(widths: Box, colour: int) -> None:
    left, above, right, below = (width + 2 if width else 0 for width in widths)
    colours = labelled(widths, colour)
    height, width = colours.shape[:2]
    assert find_picture(colours) == (left, above, width - right, height - below)


def test_words_beside_a_garment_make_no_picture_of_it() -> None:
    height, width = shirt_mask().shape
    colours = np.full((height + 60, width, 3), 250, np.uint8)
    colours[60:][shirt_mask()] = (60, 90, 160)
    page = Image.fromarray(colours)
    ImageDraw.Draw(page).text((12, 8), "new in", fill=(0, 0, 0), font=ImageFont.load_default(20))
    assert find_picture(np.asarray(page)) == whole(np.asarray(page))


@pytest.mark.parametrize("quality", [70, 90])
def test_compression_hides_no_frame(quality: int) -> None:
    smooth = Image.fromarray(PICTURE[:15, :11]).resize((110, 150))
    data = encoded(framed(np.asarray(smooth), FRAMES["all around"], 255), "JPEG", quality=quality)
    assert find_picture(np.asarray(decode(data, "", 10**6).pixels)) == pytest.approx((12, 10, 118, 156), abs=2)


@pytest.mark.parametrize(
    "colours",
    [
        PICTURE,
        framed(PICTURE, (0, 40, 0, 0)),
        framed(PICTURE, (30, 40, 0, 0)),
        framed(PICTURE, (15, 20, 15, 20)),
        framed(PICTURE[:20, :20], (2, 2, 2, 2)),
        framed(np.repeat(PICTURE[..., :1], 3, axis=2), (10, 10, 10, 10)),
        framed(np.full_like(PICTURE, 120), (10, 10, 10, 10)),
        np.full_like(PICTURE, 255),
        framed(PICTURE[:1], (0, 1, 0, 1)),
        PICTURE[:1, :1],
    ],
    ids=[
        "none",
        "one bar",
        "at a corner",
        "wide margins",
        "tiny",
        "grey",
        "of one grey",
        "nothing inside",
        "a line",
        "a pixel",
    ],
)
def test_where_there_is_no_frame_everything_is_the_picture(colours: NDArray[np.uint8]) -> None:
    assert find_picture(colours) == whole(colours)


@pytest.mark.parametrize("missing", [(15, 30), (16, 15)])
def test_what_lacks_a_corner_is_no_picture(missing: tuple[int, int]) -> None:
    colours = framed(PICTURE, (10, 10, 10, 10))
    colours[10 : 10 + missing[0], 10 : 10 + missing[1]] = 0
    assert find_picture(colours) == whole(colours)


def test_straight_trousers_of_the_data_set_are_no_picture_however_they_are_enlarged(data: Data) -> None:
    for image in data.train.images[data.train.class_ids == TROUSER][:100]:
        for resampling in (Image.Resampling.NEAREST, Image.Resampling.BICUBIC):
            colours = np.asarray(Image.fromarray(image).resize((280, 280), resampling).convert("RGB"))
            assert find_picture(colours) == whole(colours)


def test_a_corner_of_another_tone_belongs_to_no_frame() -> None:
    colours = framed(PICTURE, FRAMES["all around"])
    colours[0, 0] = 13
    assert find_picture(colours) == whole(colours)


@pytest.mark.parametrize("widths", [(0, 10, 0, 0), (10, 10, 0, 0)])
def test_margins_on_one_side_or_on_two_adjacent_sides_are_no_frame(widths: tuple[int, int, int, int]) -> None:
    colours = framed(PICTURE, widths)
    colours[[0, 0, -1, -1], [0, -1, 0, -1]] = 0
    assert find_picture(colours) == whole(colours)


def drawn(image: NDArray[np.uint8], colours: str, about: str = "") -> tuple[NDArray[np.uint8], Box]:
    """Draw an image as a tutorial does, and return the figure and where its axes are."""
    figure = draw(image, colours)
    (axes,) = figure.axes
    if about == "no axes":
        axes.axis("off")
    elif about == "a title":
        axes.set_title("Ankle boot, which is long enough for a line")
    elif about == "a colour bar":
        figure.colorbar(axes.images[0])
    elif about == "a wide margin":
        axes.set_position((0.3, 0.3, 0.35, 0.35))
    figure.savefig(buffer := io.BytesIO(), format="png")
    pixels = np.asarray(Image.open(buffer).convert("RGB"))
    extent = axes.get_window_extent()
    left, top, right, bottom = extent.x0, len(pixels) - extent.y1, extent.x1, len(pixels) - extent.y0
    return pixels, (round(left), round(top), round(right), round(bottom))


@pytest.mark.parametrize(
    ("colours", "about"),
    [
        *itertools.product(("gray", "viridis"), ("", "no axes", "a title", "a colour bar")),
        *itertools.product(["binary"], ("", "a title", "a colour bar")),  # white on white, it ends where the axes are
    ],
)
def test_the_image_in_the_axes_of_a_figure_is_found(colours: str, about: str, data: Data) -> None:
    boxes = [(find_picture(figure), axes) for figure, axes in (drawn(i, colours, about) for i in data.test.images[:5])]
    assert len(boxes) == 5
    for found, axes in boxes:
        assert found == pytest.approx(axes, abs=6)


def test_the_image_in_small_axes_is_found(data: Data) -> None:
    figure, axes = drawn(data.test.images[0], "gray", "a wide margin")
    assert find_picture(figure) == pytest.approx(axes, abs=6)


def test_an_image_in_axes_is_converted_like_the_same_image_enlarged(data: Data) -> None:
    differences = []
    for image in data.test.images[:10]:
        converted = convert(Image.fromarray(drawn(image, "gray")[0]), Mode.AUTO)
        assert (converted.mode, converted.steps[0]) == ("bright_on_black", "frame_removed")
        enlarged = convert(Image.fromarray(image).resize((280, 280), Image.Resampling.NEAREST), Mode.AUTO)
        differences.append(np.abs(converted.image.astype(int) - enlarged.image).mean())
    assert np.median(differences) < 1  # in a few, rounding moves the garment by a pixel


@pytest.mark.parametrize("side", [(160, 160), (160, 120)], ids=["square", "oblong"])
@pytest.mark.parametrize("inside", ["nothing", "to a corner", "a logo"])
def test_a_dark_square_on_paper_is_an_image_only_with_something_on_a_ground_of_its_own(
    inside: str, side: tuple[int, int]
) -> None:
    height, width = side
    colours = np.full((300, 400, 3), 250, np.uint8)
    colours[60 : 60 + height, 90 : 90 + width] = 30
    if inside == "a logo":
        colours[100:130, 110:150] = 180
    elif inside == "to a corner":
        colours[60:80, 90:110] = 120
    is_image = inside == "a logo" and height == width
    assert find_picture(colours) == ((92, 62, 88 + width, 58 + height) if is_image else whole(colours))


def test_on_dark_paper_no_axes_are_looked_for(data: Data) -> None:
    figure, _ = drawn(data.test.images[0], "gray")
    assert find_picture(255 - figure) == whole(figure)
