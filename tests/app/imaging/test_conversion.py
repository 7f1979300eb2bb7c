from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.imaging.conversion import Mode, convert

BLACK, WHITE = 0, 255


def drawing(ground: int, garment: int, height: int = 120, width: int = 80) -> Image.Image:
    """Draw a garment twice as high as wide, off the centre of its ground."""
    values = np.full((height, width), ground, np.uint8)
    values[10:90, 20:60] = garment
    return Image.fromarray(values)


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.NONE])
@pytest.mark.parametrize("channels", ["L", "RGB"])
def test_a_grey_image_of_28_by_28_is_left_untouched(mode: Mode, channels: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    converted = convert(Image.fromarray(values).convert(channels), mode)
    assert np.array_equal(converted.image, values)
    assert converted.steps == ()


def test_a_coloured_image_of_28_by_28_is_converted_as_a_photo() -> None:
    assert convert(Image.new("RGB", (28, 28), "red"), Mode.AUTO).mode == "photo"


def test_photo_converts_even_a_native_image() -> None:
    assert convert(Image.new("L", (28, 28), WHITE), Mode.PHOTO).mode == "photo"


@pytest.mark.parametrize(
    ("ground", "garment", "negated"), [(WHITE, 40, True), (230, 90, True), (BLACK, 200, False), (60, 180, False)]
)
def test_a_garment_becomes_bright_on_black_touches_the_frame_and_is_centred(
    ground: int, garment: int, *, negated: bool
) -> None:
    converted = convert(drawing(ground, garment), Mode.AUTO)
    assert ("negated" in converted.steps) is negated
    assert (converted.image[:, 7:21] > 100).all()
    assert (converted.image[:, :7] == 0).all()
    assert (converted.image[:, 21:] == 0).all()


def test_a_frame_without_a_garment_says_so_and_still_gives_an_image() -> None:
    converted = convert(Image.new("RGB", (50, 70), "white"), Mode.AUTO)
    assert "no_garment_found" in converted.steps
    assert (converted.image == 0).all()


def test_none_only_resizes() -> None:
    converted = convert(Image.new("RGB", (50, 70), "white"), Mode.NONE)
    assert (converted.image == WHITE).all()
    assert (converted.mode, converted.steps) == ("none", ("resized",))


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (5000, 10), (2, 3), (29, 27), (640, 480)])
def test_any_size_gives_28_by_28_bytes_and_the_same_ones_again(mode: Mode, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    first, second = (convert(Image.fromarray(noise), mode) for _ in range(2))
    assert first.image.shape == (28, 28)
    assert first.image.dtype == np.uint8
    assert np.array_equal(first.image, second.image)
