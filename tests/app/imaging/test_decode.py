from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.errors import ImageTooLargeError, InvalidImageError, UnsupportedMediaTypeError
from app.imaging.decode import FORMATS, Decoded, decode
from tests.conftest import encoded

GRADIENT = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8)


def decoded(data: bytes, media_type: str = "image/png", max_image_pixels: int = 10**6) -> Decoded:
    return decode(data, media_type, max_image_pixels)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_accepted_format_is_recognised_by_its_bytes(kind: str) -> None:
    result = decoded(encoded(GRADIENT, kind), media_type="text/plain")
    assert (result.format, result.width, result.height) == (kind, 60, 40)
    assert np.abs(np.asarray(result.pixels.convert("L")).astype(int) - GRADIENT).max() <= 8


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    frames = [Image.new("L", (30, 30), level) for level in (200, 20)]
    result = decoded(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert np.abs(np.asarray(result.pixels.convert("L")).astype(int) - 200).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright_by_its_orientation_tag(orientation: int) -> None:
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :16] = 255
    image = Image.fromarray(upright)
    # How each orientation is stored, by EXIF 2.32: undoing it must give the upright picture again.
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    if orientation in stored:
        image = image.transpose(stored[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = decoded(encoded(image, "PNG", exif=exif))
    assert np.array_equal(np.asarray(result.pixels), upright)
    assert (result.width, result.height) == image.size
    assert result.steps == (() if orientation == 1 else ("exif_transpose",))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    image = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 5, 10))
    result = decoded(encoded(image.convert(mode) if mode != "PA" else image.quantize(4), "PNG"))
    grey = np.asarray(result.pixels.convert("L"))
    assert (grey[:, :5] == 0).all()
    assert (grey[:, 5:] == 255).all()
    assert result.steps == ("composited_on_white",)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_clipped(kind: str) -> None:
    values = np.linspace(0, 65535, 100).astype(np.uint16).reshape(10, 10)
    grey = np.asarray(decoded(encoded(Image.fromarray(values), kind)).pixels)
    assert np.array_equal(grey, np.rint(values / 257).astype(np.uint8))


def test_a_floating_point_tiff_is_scaled_by_the_values_it_holds() -> None:
    values = np.linspace(-1, 3, 100, dtype=np.float32).reshape(10, 10)
    grey = np.asarray(decoded(encoded(Image.fromarray(values), "TIFF")).pixels)
    assert (int(grey.min()), int(grey.max())) == (0, 255)


def test_a_tiff_without_a_finite_range_is_invalid() -> None:
    with pytest.raises(InvalidImageError, match="TIFF"):
        decoded(encoded(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"))


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "L", "RGB"])
def test_other_modes_become_grey_or_rgb(mode: str) -> None:
    image = Image.new("RGB", (10, 10), "white").convert(mode)
    result = decoded(encoded(image, "TIFF"))
    assert result.pixels.mode in {"L", "RGB"}
    assert (np.asarray(result.pixels) == 255).all()


def test_784_bytes_of_octet_stream_are_a_grey_image_row_by_row() -> None:
    values = np.arange(784).astype(np.uint8).reshape(28, 28)
    result = decoded(values.tobytes(), media_type="application/octet-stream")
    assert result.format == "RAW"
    assert np.array_equal(np.asarray(result.pixels), values)


def test_784_bytes_of_another_type_are_no_image() -> None:
    with pytest.raises(UnsupportedMediaTypeError, match="784 bytes of something else"):
        decoded(bytes(784), media_type="image/png")


def test_an_empty_body_is_an_invalid_image() -> None:
    with pytest.raises(InvalidImageError, match="received none"):
        decoded(b"")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_truncated_file_is_an_invalid_image(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(noise, kind)
    with pytest.raises(InvalidImageError, match=rf"readable {kind} image, received \d+ bytes"):
        decoded(data[: int(len(data) * share)])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # it says aloud which tags of a damaged TIFF it skips
@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_bytes_never_raise_anything_but_a_typed_error(kind: str) -> None:
    rng = np.random.default_rng(0)
    data = np.frombuffer(encoded(GRADIENT, kind), np.uint8)
    for _ in range(200):
        damaged = data.copy()
        places = rng.integers(0, len(data), rng.integers(1, 20))
        damaged[places] = rng.integers(0, 256, len(places))
        try:
            decoded(damaged.tobytes())
        except (InvalidImageError, UnsupportedMediaTypeError, ImageTooLargeError):
            continue


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "HEIC"),
        (b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00", "AVIF"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<svg/>", "SVG"),
        (b"%PDF-1.7\n", "PDF"),
    ],
)
def test_well_known_formats_that_are_not_accepted_are_named_with_what_to_do(data: bytes, named: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match=rf"^Expected an image as PNG, .* received a {named} file; .+"):
        decoded(data)


@pytest.mark.parametrize(
    "data", [b"hello", b"RIFF\x00\x00\x00\x00WAVE", b"\x00\x00\x00\x18ftypisom", b"<?xml?><html/>"]
)
def test_anything_else_is_refused_with_the_list_of_what_is_accepted(data: bytes) -> None:
    with pytest.raises(
        UnsupportedMediaTypeError, match=r"PNG, JPEG, WEBP, BMP, GIF or TIFF, received .* something else"
    ):
        decoded(data)


def test_more_pixels_than_the_limit_are_refused_from_the_header_alone() -> None:
    header_only = encoded(Image.new("1", (3000, 2000)), "PNG")[:64]
    with pytest.raises(ImageTooLargeError, match="at most 1000000 pixels, received 3000 x 2000 = 6000000"):
        decoded(header_only)
