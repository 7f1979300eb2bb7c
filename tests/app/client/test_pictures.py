from __future__ import annotations

import io
import os
import re
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from PIL import ExifTags, Image

from app.client.pictures import LOSSLESS_PIXELS, load, name_of, several
from app.imaging.decode import decode
from tests.app.imaging.test_decode import GREYS
from tests.conftest import encoded

if TYPE_CHECKING:
    from collections.abc import Callable


def arrives(image: Image.Image) -> Image.Image:
    """Return the pixels that the service decodes from an image."""
    return decode(load(image), "application/octet-stream", 50_000_000).pixels


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "F", "I"])
def test_a_pillow_image_arrives_pixel_by_pixel_whatever_its_mode(mode: str) -> None:
    checks = np.kron([[0, 1], [1, 0]], np.ones((20, 20))).astype(np.uint8) * 255
    received = np.asarray(arrives(Image.fromarray(checks).convert(mode)).convert("L"))
    assert np.abs(received.astype(int) - checks).max() <= 1


def test_a_pillow_image_arrives_upright() -> None:
    image = Image.fromarray(np.zeros((20, 30), np.uint8))
    image.getexif()[ExifTags.Base.Orientation] = 6
    assert arrives(image).size == (20, 30)


def test_a_large_pillow_photograph_is_compressed_to_fit_the_service() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), dtype=np.uint8)
    assert noise.size // 3 > LOSSLESS_PIXELS
    photograph = Image.fromarray(noise)
    photograph.getexif()[ExifTags.Base.Orientation] = 6
    data = load(photograph)
    assert len(data) < 10 * 2**20
    decoded = decode(data, "", 50_000_000)
    assert (decoded.format, decoded.width, decoded.height) == ("JPEG", 1500, 2000)
    assert "exif_transpose" in decoded.steps


def test_a_photograph_of_48_megapixels_is_compressed_to_fit_too() -> None:
    noise = np.random.default_rng(0).normal(128, 6, (1000, 1000, 3)).clip(0, 255).astype(np.uint8)
    assert len(load(Image.fromarray(np.tile(noise, (6, 8, 1))))) < 10 * 2**20


def test_a_long_strip_is_sent_in_a_format_that_can_hold_it() -> None:
    strip = Image.new("RGB", (70_000, 20), "red")
    decoded = decode(load(strip), "", 50_000_000)
    assert (decoded.format, decoded.width, decoded.height) == ("PNG", 70_000, 20)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_a_large_photograph_in_another_colour_space_is_compressed_and_keeps_its_colours(mode: str) -> None:
    hues = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    photograph = Image.fromarray(hues).resize((2000, 1500), Image.Resampling.BICUBIC).convert(mode)
    data = load(photograph)
    assert len(data) < 2**20
    decoded = decode(data, "", 50_000_000)
    assert (decoded.format, decoded.width, decoded.height) == ("JPEG", 2000, 1500)
    expected = np.asarray(photograph.convert("RGB").reduce(decoded.reduction)).astype(int)
    assert np.abs(np.asarray(decoded.pixels) - expected).mean() < 2


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_large_pillow_cut_out_is_compressed_and_keeps_its_transparency(mode: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2000, 4), dtype=np.uint8)
    noise[..., 3] = np.where(np.arange(2000) < 700, 0, 255)
    data = load(Image.fromarray(noise).convert(mode))
    assert len(data) < 10 * 2**20
    decoded = decode(data, "", 50_000_000)
    assert (decoded.format, decoded.width, decoded.height) == ("WEBP", 2000, 1500)
    assert decoded.opacity is not None
    assert np.array_equal(np.asarray(decoded.opacity), noise[..., 3])


def test_no_tag_but_the_orientation_is_sent() -> None:
    photograph = Image.fromarray(np.zeros((1100, 1100), np.uint8))
    tags = photograph.getexif()
    tags[ExifTags.Base.Orientation] = 8
    tags[ExifTags.Base.Artist] = "somebody"
    tags[ExifTags.Base.ImageDescription] = "x" * 70_000  # more than a JPEG can hold
    with Image.open(io.BytesIO(load(photograph))) as sent:
        assert dict(sent.getexif()) == {ExifTags.Base.Orientation: 8}


def test_a_16_bit_image_keeps_its_scale() -> None:
    image = Image.fromarray(np.full((20, 20), 0x8000, np.int32))
    assert image.mode == "I"
    assert np.asarray(arrives(image)).max() == 128


def test_no_other_metadata_of_the_file_is_sent_either() -> None:
    file = io.BytesIO()
    Image.new("L", (1100, 1100)).save(file, "JPEG", comment=b"lives in Berlin")
    assert b"Berlin" in file.getvalue()
    assert b"Berlin" not in load(Image.open(file))
    file = io.BytesIO()
    Image.new("CMYK", (20, 20)).save(file, "TIFF", tiffinfo={700: b"lives in Berlin"})
    assert b"Berlin" in file.getvalue()
    assert b"Berlin" not in load(Image.open(file))


@pytest.mark.parametrize("side", [100, 1100])
def test_a_colour_marked_as_transparent_stays_transparent_whatever_the_size(side: int) -> None:
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[: side // 2] = 255
    file = io.BytesIO(encoded(pixels, transparency=(255, 255, 255)))
    decoded = decode(load(Image.open(file)), "", 50_000_000)
    assert decoded.opacity is not None
    assert np.asarray(decoded.opacity)[0, 0] == 0
    assert np.asarray(decoded.opacity)[-1, 0] == 255


def test_an_image_that_no_format_can_hold_raises_an_os_error() -> None:
    with pytest.raises(OSError, match="I;16N"):
        load(Image.new("I;16N", (2, 2)))


def damaged_png() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    data = encoded(noise)
    return Image.open(io.BytesIO(b"\0\1\2\3".join(data.rsplit(b"IDAT", 1))))


def closed(picture: Any) -> Any:  # noqa: ANN401  an image or a file
    picture.close()
    return picture


def test_a_tiff_that_was_just_opened_arrives_upright(tmp_path: Path) -> None:
    picture = Image.new("RGB", (90, 60))
    picture.paste("red", (0, 0, 45, 60))
    picture.save(tmp_path / "lying.tif", exif={ExifTags.Base.Orientation: 6})
    with Image.open(tmp_path / "lying.tif") as opened:
        received = arrives(opened)
    as_bytes = decode((tmp_path / "lying.tif").read_bytes(), "", 50_000_000).pixels
    assert received.size == as_bytes.size == (60, 90)
    assert np.array_equal(np.asarray(received), np.asarray(as_bytes))


@pytest.mark.parametrize("kind", ["white is zero", "white is zero, floating point"])
def test_a_tiff_in_which_white_is_zero_arrives_as_its_bytes_do(kind: str) -> None:
    data = GREYS[kind]("<")
    with Image.open(io.BytesIO(data)) as opened:
        received = np.asarray(arrives(opened)).astype(int)
    assert np.abs(received - np.asarray(decode(data, "", 50_000_000).pixels)).max() <= 1


def test_a_palette_image_with_an_alpha_channel_arrives() -> None:
    palette = Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert("PA")
    assert arrives(palette).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    "picture",
    [damaged_png(), closed(Image.new("RGB", (2, 2))), Image.new("RGB", (0, 0)), closed(io.BytesIO()), "a\0b"],
    ids=["damaged", "closed image", "no pixels", "closed file", "no path"],
)
def test_whatever_is_wrong_with_a_picture_raises_an_os_error(picture: Any) -> None:  # noqa: ANN401
    with pytest.raises(OSError, match=r"expected a picture that can be read, found one of type \w+: ."):
        load(picture)


@pytest.mark.parametrize("shape", [(28, 28), (30, 20, 3), (30, 20, 4)], ids=["grey", "RGB", "RGBA"])
def test_an_array_arrives_pixel_by_pixel(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    pixels[..., 3:] = 255
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(load(pixels)))), pixels)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(load(pixels[::2, ::2])))), pixels[::2, ::2])


def test_an_array_with_one_channel_is_grey() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 1), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(load(pixels)))), pixels[..., 0])


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (np.zeros((28, 28), np.float32), "ndarray float32 (28, 28). Scale the numbers to 0 to 255, and"),
        (np.zeros((60, 28, 28), np.uint8), "ndarray uint8 (60, 28, 28). Give many pictures to predict_many."),
        ([b"boot"], "list. Give many pictures to predict_many."),
        (np.zeros((28, 28), np.uint8).data, "memoryview (28, 28)."),
        (np.zeros(784, np.float32).data, "memoryview (784,)."),
        (None, "NoneType."),
        (7, "int."),
    ],
    ids=["floats", "an array of many", "a list", "a view of rows", "a view of floats", "None", "int"],
)
def test_the_error_for_what_is_no_picture_says_what_was_found_and_what_is_accepted(picture: Any, told: str) -> None:  # noqa: ANN401
    with pytest.raises(TypeError, match=rf"bytes, .+ array of uint8 .+, found {re.escape(told)}"):
        load(picture)


@pytest.mark.parametrize("kind", [bytearray, memoryview, partial(np.frombuffer, dtype=np.uint8)])
def test_encoded_bytes_may_come_in_any_buffer(kind: Callable[[bytes], Any]) -> None:
    assert load(kind(b"encoded")) == b"encoded"
    with pytest.raises(TypeError, match="expected several pictures"):
        several(kind(b"encoded"))


def test_a_file_opened_in_text_mode_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "boot.png").write_bytes(b"text")
    with (tmp_path / "boot.png").open() as file, pytest.raises(TypeError, match=r"in binary mode, found .+ reads str"):
        load(cast("Any", file))


def test_a_file_is_read_from_its_current_position() -> None:
    file = io.BytesIO(b"skipped, read")
    file.seek(9)
    assert load(file) == b"read"


@pytest.mark.parametrize("most_bytes", [-1, 100])
def test_a_file_at_its_end_has_to_be_rewound(most_bytes: int) -> None:
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "PNG")
    with pytest.raises(OSError, match=r"type BytesIO: nothing follows its position: .+ seek\(0\)"):
        load(file, most_bytes)


def test_an_empty_file_is_called_empty() -> None:
    with pytest.raises(OSError, match="type BytesIO: it is empty"):
        load(io.BytesIO())


def test_a_pipe_that_gives_little_at_a_time_is_read_up_to_the_limit() -> None:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(b"x" * 100_000)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(reading, "rb", buffering=0) as file:
        assert load(file, 90_000) == b"x" * 90_000
        assert load(file, 90_000) == b"x" * 10_000
    writer.join()


def test_a_picture_is_named_by_its_file_if_it_has_one(tmp_path: Path) -> None:
    (tmp_path / "boot.png").touch()
    with (tmp_path / "boot.png").open("rb") as file:
        assert name_of(file) == "boot.png"
    assert name_of("photos/boot.png") == name_of(Path("boot.png")) == "boot.png"
    assert name_of(b"bytes") == name_of(io.BytesIO()) == ""
    assert name_of("a\udcff.png") == "a?.png"  # a name that is not UTF-8
