from __future__ import annotations

import base64
import gzip
import io
import re
import struct
import subprocess
import sys
import zlib
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from app.errors import ImageTooLargeError, InvalidImageError, UnsupportedMediaTypeError
from app.imaging.decode import (
    FORMATS,
    MAX_JPEG_SCANS,
    RAW_BYTES,
    REDUCED_PIXELS,
    TINY_BYTES,
    Decoded,
    declared_pixels,
    decode,
    is_tiny,
)
from tests import bombs
from tests.conftest import encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

GRADIENT = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8)

COLOURFUL = Image.merge(
    "RGB", (Image.linear_gradient("L"), Image.linear_gradient("L").rotate(90), Image.radial_gradient("L"))
)
"""256x256, smooth, with every hue."""

TOLERATES_DAMAGED_TAGS = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as `decode` does outside pytest


def decoded(data: bytes, media_type: str = "image/png", max_image_pixels: int = 10**7) -> Decoded:
    return decode(data, media_type, max_image_pixels)


def difference(image: Image.Image, expected: Image.Image | NDArray[np.uint8]) -> NDArray[np.int_]:
    """Return the absolute difference of each value in grey levels, `[height, width]` or `[height, width, 3]`."""
    levels: NDArray[np.int_] = np.asarray(image, int) - np.asarray(expected, int)
    return np.abs(levels)


def with_orientation(image: Image.Image, kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, kind, exif=exif, lossless=True)


# --- formats ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_every_accepted_format_is_recognised_by_its_bytes(kind: str) -> None:
    result = decoded(encoded(GRADIENT, kind), media_type="text/plain")
    assert (result.format, result.width, result.height) == (kind, 60, 40)
    assert difference(result.pixels.convert("L"), GRADIENT).max() <= 8


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_an_animation_is_decoded_as_its_first_frame(kind: str) -> None:
    frames = [Image.new("L", (30, 30), level) for level in (200, 20)]
    result = decoded(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert difference(result.pixels.convert("L"), frames[0]).max() <= 2


def test_a_phone_s_jpeg_of_several_pictures_is_decoded_as_the_first() -> None:
    frames = [Image.new("RGB", (600, 400), colour) for colour in ("red", "blue")]
    result = decoded(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    assert (result.format, result.width, result.height, result.reduction) == ("JPEG", 600, 400, 2)
    assert difference(result.pixels, frames[0].reduce(2)).max() <= 2


# --- orientation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright_by_its_orientation_tag(kind: str, orientation: int) -> None:
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
    result = decoded(with_orientation(image, kind, orientation))
    assert difference(result.pixels.convert("L"), upright).max() <= 2
    assert (result.width, result.height) == upright.shape[::-1]
    assert result.steps == (() if orientation == 1 else ("exif_transpose",))


def test_the_orientation_tag_of_a_png_may_follow_the_pixels() -> None:
    data = with_orientation(Image.fromarray(GRADIENT), "PNG", 3)
    start, pixels, end = data.index(b"eXIf") - 4, data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    moved = data[:start] + data[pixels:end] + data[start:pixels] + data[end:]
    assert np.array_equal(np.asarray(decoded(moved).pixels), GRADIENT[::-1, ::-1])


@pytest.mark.parametrize("orientation", [0, 9, 60000])
def test_an_undefined_orientation_is_upright(orientation: int) -> None:
    result = decoded(with_orientation(Image.fromarray(GRADIENT), "PNG", orientation))
    assert np.array_equal(np.asarray(result.pixels), GRADIENT)
    assert result.steps == ()


@TOLERATES_DAMAGED_TAGS
@pytest.mark.parametrize(
    "exif", [b"", b"Exif\x00\x00", b"Exif\x00\x00MM", b"nonsense" * 9, Image.Exif().tobytes()[:-5]]
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_tags_that_cannot_be_read_do_not_keep_the_pixels_from_being_decoded(kind: str, exif: bytes) -> None:
    assert decoded(encoded(GRADIENT, kind, exif=exif, dpi=(72, 72))).steps == ()


def test_a_text_named_like_a_tag_does_not_keep_the_pixels_from_being_decoded() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("xmp", "an ordinary text")
    assert np.array_equal(np.asarray(decoded(encoded(GRADIENT, pnginfo=text)).pixels), GRADIENT)


def test_damaged_tags_print_no_warning_in_the_service() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a maker whose name is cut"
    data = encoded(GRADIENT, "JPEG", exif=exif.tobytes()[:-10])
    with pytest.warns(UserWarning, match="Truncated"):
        decoded(data)
    program = "import sys; from app.imaging.decode import decode; decode(sys.stdin.buffer.read(), '', 10**6)"
    ran = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, check=True)
    assert ran.stderr == b""


def test_damaged_rows_of_a_tiff_leave_no_line_each_where_it_serves() -> None:
    intact = encoded(Image.new("1", (8, 2000)), "TIFF", compression="group3")
    # The only strip follows the header.
    damaged = intact[:8] + np.random.default_rng(0).bytes(4250) + intact[4258:]
    program = "import sys; from app.imaging.decode import decode; decode(sys.stdin.buffer.read(), '', 10**6)"
    ran = subprocess.run([sys.executable, "-c", program], input=damaged, capture_output=True, check=True)
    assert ran.stderr == b""


# --- transparency and modes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    image = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 5, 10))
    result = decoded(encoded(image.convert(mode) if mode != "PA" else image.quantize(4), "PNG"))
    grey = np.asarray(result.pixels.convert("L"))
    assert (grey[:, :5] == 0).all()
    assert (grey[:, 5:] == 255).all()
    assert result.steps == ("composited_on_white",)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF"])
def test_the_opacity_is_returned_beside_the_pixels(kind: str) -> None:
    opacity = np.repeat(np.array([[0, 255, 255, 0]], np.uint8), 10, axis=0).repeat(5, axis=1)
    image = Image.merge("RGBA", [*Image.new("RGB", (20, 10), "blue").split(), Image.fromarray(opacity)])
    result = decoded(encoded(image, kind, lossless=True))
    assert result.opacity is not None
    assert np.array_equal(np.asarray(result.opacity), opacity)
    for opaque in (image.convert("RGB"), image.convert("RGB").convert("RGBA")):
        assert decoded(encoded(opaque, kind)).opacity is None


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_the_opacity_of_one_transparent_grey_is_returned_too(depth: type[np.generic]) -> None:
    levels = np.full((10, 10), 90, depth)
    levels[:, :5] = 30
    result = decoded(encoded(Image.fromarray(levels), transparency=30))
    assert result.opacity is not None
    assert np.array_equal(np.asarray(result.opacity), np.where(levels == 30, 0, 255))


def test_opacity_is_turned_upright_with_the_pixels() -> None:
    image = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 5, 10))
    result = decoded(with_orientation(image, "PNG", 6))
    assert result.opacity is not None
    assert np.array_equal(np.asarray(result.opacity) == 255, np.asarray(result.pixels.convert("L")) == 0)
    assert result.opacity.size == (10, 20)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF"])
def test_what_is_transparent_becomes_white_in_every_format(kind: str) -> None:
    image = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 5, 10))
    result = decoded(encoded(image, kind, lossless=True))
    assert result.pixels.getpixel((0, 0)) == (0, 0, 255)
    assert result.pixels.getpixel((9, 9)) == (255, 255, 255)


def test_what_is_half_transparent_is_halfway_to_white() -> None:
    result = decoded(encoded(Image.new("RGBA", (10, 10), (200, 0, 0, 128))))
    assert difference(result.pixels, np.array([227, 127, 127])).max() <= 1


@pytest.mark.parametrize("scale", [1, 257])
def test_a_png_may_name_one_grey_as_transparent(scale: int) -> None:
    levels = np.full((10, 10), 90 * scale, np.uint8 if scale == 1 else np.uint16)
    levels[:, :5] = 30 * scale
    result = decoded(encoded(Image.fromarray(levels), transparency=30 * scale))
    assert difference(result.pixels.convert("L"), np.where(levels == 30 * scale, 255, 90)).max() == 0
    assert result.steps == ("composited_on_white",)


def test_a_png_may_name_one_colour_as_transparent() -> None:
    image = Image.new("RGB", (10, 10), (90, 90, 90))
    image.paste((90, 90, 30), (0, 0, 5, 10))
    result = decoded(encoded(image, transparency=(90, 90, 30)))
    assert (result.pixels.getpixel((0, 0)), result.pixels.getpixel((9, 9))) == ((255, 255, 255), (90, 90, 90))


def png(bits: int, colour: int, row: bytes, transparent: bytes) -> bytes:
    """Make a PNG of 4x4 pixels, all rows alike."""
    header = struct.pack(">IIBBBBB", 4, 4, bits, colour, 0, 0, 0)
    pixels = zlib.compress((b"\0" + row) * 4)
    chunks = bombs.chunk(b"IHDR", header), bombs.chunk(b"tRNS", transparent), bombs.chunk(b"IDAT", pixels), bombs.END
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("data", "level"),
    [
        (png(2, 0, b"\x5a", b"\0\x01"), 170),
        (png(4, 0, b"\x33\x99", b"\0\x03"), 153),
        (png(16, 2, b"\x12\x34\x23\x45\x34\x56" * 2 + b"\x99" * 12, b"\x12\x34\x23\x45\x34\x56"), 153),
    ],
    ids=["2 bits", "4 bits", "16 bits of colour"],
)
def test_a_png_names_its_transparent_colour_in_the_depth_of_its_pixels(data: bytes, level: int) -> None:
    grey = np.asarray(decoded(data).pixels.convert("L"))
    assert (grey == [255, 255, level, level]).all()


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_palette_becomes_its_colours(kind: str) -> None:
    image = COLOURFUL.reduce(8).quantize(256)
    result = decoded(encoded(image, kind))
    assert result.pixels.mode == "RGB"
    assert np.array_equal(np.asarray(result.pixels), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_one_bit_becomes_black_and_white(kind: str) -> None:
    image = Image.fromarray(GRADIENT > 50)
    result = decoded(encoded(image, kind))
    assert np.array_equal(np.asarray(result.pixels.convert("L")), np.asarray(image.convert("L")))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_the_inks_of_a_cmyk_file_become_rgb(kind: str) -> None:
    result = decoded(encoded(COLOURFUL.convert("CMYK"), kind))
    assert result.pixels.mode == "RGB"
    assert difference(result.pixels, COLOURFUL).mean() < 2


def ycck(image: Image.Image) -> bytes:
    """Encode an RGB picture as Photoshop encodes CMYK: inks inverted, the first three as luma and chroma."""
    cyan, magenta, yellow, black = image.convert("CMYK").split()
    # libjpeg reads luma and chroma as those of the inverse of the first three components. These are inverted inks, so
    # their inverse is the inks.
    luma_chroma = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
    # Pillow inverts what it writes; the marker says whether the components are CMYK (0) or YCCK (2).
    stored = [Image.eval(band, lambda level: 255 - level) for band in luma_chroma]
    data = encoded(Image.merge("CMYK", (*stored, black)), "JPEG", quality=95)
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0
    return data[:transform] + b"\x02" + data[transform + 1 :]


@pytest.mark.parametrize("scale", [1, 4])
def test_the_colours_of_a_ycck_jpeg_come_out_right(scale: int) -> None:
    result = decoded(ycck(COLOURFUL.resize((256 * scale, 256 * scale))))
    assert result.reduction == scale
    assert difference(result.pixels, COLOURFUL).mean() < 2


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_clipped(kind: str) -> None:
    values = np.linspace(0, 65535, 100).astype(np.uint16).reshape(10, 10)
    grey = np.asarray(decoded(encoded(Image.fromarray(values), kind)).pixels)
    assert np.array_equal(grey, np.rint(values / 257).astype(np.uint8))


DARK_TO_BRIGHT = np.linspace(0, 1, 16).reshape(4, 4)


def grey_tiff(bits: int, pixels: bytes, photometric: int = 1, sample_format: int = 1, order: str = "<") -> bytes:
    """Make a TIFF of 4x4 grey pixels in one strip."""
    tags: dict[int, int | tuple[int, int]] = {
        258: bits,
        262: photometric,
        273: bombs.tiff_data(4),
        278: 4,
        279: len(pixels),
        339: sample_format,
    }
    return bombs.tiff(4, 4, tags, pixels, order=order)


def of_12_bits(values: NDArray[np.floating]) -> bytes:
    levels = np.rint(values * 4095).astype(int).reshape(-1, 2).tolist()
    return b"".join((left << 12 | right).to_bytes(3) for left, right in levels)


GREYS: dict[str, Callable[[str], bytes]] = {
    "16 bits": lambda order: grey_tiff(16, np.rint(DARK_TO_BRIGHT * 65535).astype(order + "u2").tobytes(), order=order),
    "white is zero": lambda order: grey_tiff(
        16, np.rint((1 - DARK_TO_BRIGHT) * 65535).astype(order + "u2").tobytes(), photometric=0, order=order
    ),
    "signed": lambda order: grey_tiff(
        32, np.rint((DARK_TO_BRIGHT - 0.5) * 65535).astype(order + "i4").tobytes(), sample_format=2, order=order
    ),
    "floating point": lambda order: grey_tiff(
        32, DARK_TO_BRIGHT.astype(order + "f4").tobytes(), sample_format=3, order=order
    ),
    "white is zero, floating point": lambda order: grey_tiff(
        32, (1 - DARK_TO_BRIGHT).astype(order + "f4").tobytes(), photometric=0, sample_format=3, order=order
    ),
    "32 bits": lambda order: grey_tiff(
        32, np.rint(DARK_TO_BRIGHT * (2**32 - 1)).astype(order + "u4").tobytes(), order=order
    ),
    "12 bits": lambda order: grey_tiff(12, of_12_bits(DARK_TO_BRIGHT), order=order),
}


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("make", GREYS.values(), ids=GREYS)
def test_the_greys_of_a_tiff_come_out_right_however_it_stores_them(make: Callable[[str], bytes], order: str) -> None:
    assert difference(decoded(make(order)).pixels, np.rint(DARK_TO_BRIGHT * 255).astype(np.uint8)).max() <= 1


def test_an_alpha_of_zero_everywhere_in_a_bmp_is_no_transparency() -> None:
    masks = 0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000
    header = struct.pack("<LllHHLLllLL4L", 108, 4, 4, 1, 32, 3, 64, 0, 0, 0, 0, *masks).ljust(108, b"\0")
    pixels = bytes((10, 20, 30, 0)) * 16
    data = b"BM" + struct.pack("<LLL", 14 + 108 + len(pixels), 0, 14 + 108) + header + pixels
    result = decoded(data)
    assert (result.pixels.getpixel((0, 0)), result.opacity, result.steps) == ((30, 20, 10), None, ())
    result = decoded(data[:-1] + b"\xff")  # the last pixel in the file is the right one of the first row
    assert (result.pixels.getpixel((0, 0)), result.pixels.getpixel((3, 0))) == ((255, 255, 255), (30, 20, 10))
    assert result.opacity
    assert result.steps == ("composited_on_white",)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_opaque_everywhere_is_not_reported_as_composited_on_white(kind: str, mode: str) -> None:
    result = decoded(encoded(Image.new("RGBA", (10, 10), (90, 90, 90, 255)).convert(mode), kind, lossless=True))
    assert difference(result.pixels.convert("L"), np.full((10, 10), 90)).max() <= 1
    assert (result.opacity, result.steps) == (None, ())


@pytest.mark.parametrize("has_others", [False, True], ids=["XMP alone", "beside other tags"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_turned_by_its_exif_and_not_by_its_xmp(kind: str, *, has_others: bool) -> None:
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
    xmp += b'<rdf:Description tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    options: dict[str, Any] = {"xmp": xmp}
    if kind == "PNG":
        options = {"pnginfo": PngImagePlugin.PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    elif kind == "TIFF":
        options = {"tiffinfo": {700: xmp}}
    if has_others and kind != "TIFF":
        options["exif"] = (exif := Image.Exif())
        exif[ExifTags.Base.Make] = "a camera"
    data = encoded(Image.new("RGB", (30, 20)), kind, **options)
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        assert picture.getexif().get(ExifTags.Base.Orientation) == 6 or kind == "TIFF"
    result = decoded(data)
    assert (result.pixels.size, result.width, result.height, result.steps) == ((30, 20), 30, 20, ())


def test_the_grey_of_a_tiff_may_be_premultiplied_by_its_alpha() -> None:
    data = encoded(Image.new("LA", (4, 4), (50, 128)), "TIFF")
    extra_sample = struct.Struct("<HHLL").pack
    multiplied = data.replace(extra_sample(338, 3, 1, 2), extra_sample(338, 3, 1, 1))
    assert multiplied != data
    result = decoded(multiplied)
    assert difference(result.pixels.convert("L"), np.full((4, 4), 50 + 127)).max() <= 1
    assert result.steps == ("composited_on_white",)


def test_a_floating_point_tiff_is_scaled_to_its_range_of_values() -> None:
    values = np.linspace(-1, 3, 100, dtype=np.float32).reshape(10, 10)
    result = decoded(encoded(Image.fromarray(values), "TIFF"))
    grey = np.asarray(result.pixels)
    assert (int(grey.min()), int(grey.max()), result.steps) == (0, 255, ("stretched",))


def test_a_floating_point_tiff_of_a_single_value_is_black() -> None:
    assert not np.asarray(decoded(encoded(Image.new("F", (4, 4), 0.7), "TIFF")).pixels).any()


def test_a_tiff_without_a_finite_range_is_invalid() -> None:
    with pytest.raises(InvalidImageError, match="TIFF"):
        decoded(encoded(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"))


@pytest.mark.parametrize(
    ("mode", "becomes"), [("1", "L"), ("L", "L"), ("YCbCr", "RGB"), ("LAB", "RGB"), ("RGBX", "RGB")]
)
def test_grey_stays_grey_and_everything_else_becomes_rgb(mode: str, becomes: str) -> None:
    result = decoded(encoded(Image.new("RGB", (10, 10), "white").convert(mode), "TIFF"))
    assert result.pixels.mode == becomes
    assert difference(result.pixels, Image.new(becomes, (10, 10), "white")).max() <= 1


# --- JPEG at a reduced scale --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("longer", "reduction"),
    [(28, 1), (256, 1), (511, 1), (512, 2), (1023, 2), (1024, 4), (2047, 4), (2048, 8), (2049, 8), (5000, 8)],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_is_decoded_as_small_as_its_longer_side_allows(longer: int, reduction: int, mode: str) -> None:
    for size in ((longer, longer // 3), (longer // 3, longer)):
        result = decoded(encoded(Image.new(mode, size), "JPEG"), max_image_pixels=10**8)
        assert (result.width, result.height) == size
        assert result.reduction == reduction
        assert result.pixels.size == tuple(-(-side // reduction) for side in size)
        assert max(result.pixels.size) >= min(longer, REDUCED_PIXELS)
        assert result.pixels.mode == ("L" if mode == "L" else "RGB")


@pytest.mark.parametrize(("size", "reduction"), [((5000, 5), 4), ((3, 5000), 2), ((5000, 1), 1)])
def test_a_jpeg_thinner_than_the_reduction_keeps_a_pixel(size: tuple[int, int], reduction: int) -> None:
    result = decoded(encoded(Image.new("RGB", size), "JPEG"))
    assert result.reduction == reduction
    assert min(result.pixels.size) >= 1


@pytest.mark.parametrize(
    ("side", "step"), [(512, "decoded_at_half"), (1024, "decoded_at_quarter"), (2048, "decoded_at_eighth")]
)
def test_a_reduced_jpeg_is_still_turned_upright(side: int, step: str) -> None:
    upright = Image.new("L", (side // 2, side))
    upright.paste(255, (0, 0, side // 2, side // 2))
    result = decoded(with_orientation(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", 6))
    assert result.steps == (step, "exif_transpose")
    assert (result.width, result.height) == (side // 2, side)
    assert difference(result.pixels, upright.resize((128, 256))).mean() < 1


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_reduced_pixels_are_close_to_the_mean_of_those_they_stand_for(reduction: int) -> None:
    side = REDUCED_PIXELS * reduction
    noise = np.random.default_rng(0).normal(0, 8, (side, side, 1))
    photo = np.clip(np.asarray(COLOURFUL.resize((side, side))) + noise, 0, 255).astype(np.uint8)
    photo[side // 4 : side // 2, side // 4 : side // 2] //= 3
    data = encoded(photo, "JPEG", quality=90)
    assert difference(decoded(data).pixels, Image.fromarray(photo).reduce(reduction)).mean() < 2


@pytest.mark.parametrize("kind", sorted(set(FORMATS) - {"JPEG"}))
def test_only_jpegs_are_reduced(kind: str) -> None:
    result = decoded(encoded(Image.new("L", (1200, 700)), kind))
    assert (result.reduction, result.pixels.size, result.steps) == (1, (1200, 700), ())


# --- raw pixels ---------------------------------------------------------------------------------------------------


def test_784_bytes_of_octet_stream_are_a_grey_image_row_by_row() -> None:
    values = np.arange(784).astype(np.uint8).reshape(28, 28)
    result = decoded(values.tobytes(), media_type="application/octet-stream")
    assert (result.format, result.width, result.height, result.reduction) == ("RAW", 28, 28, 1)
    assert np.array_equal(np.asarray(result.pixels), values)


def test_784_bytes_of_another_type_are_no_image() -> None:
    with pytest.raises(UnsupportedMediaTypeError, match=r"784 bytes of something else; .* application/octet-stream"):
        decoded(bytes(784), media_type="image/png")


def test_784_bytes_of_text_are_no_image_whatever_their_media_type() -> None:
    text = b"A file of text, in lines.\n" * 40
    with pytest.raises(UnsupportedMediaTypeError, match="784 bytes of something else; save it"):
        decoded(text[:784], media_type="application/octet-stream")


def test_the_error_for_pixels_of_four_bytes_each_says_how_many_bytes_are_accepted() -> None:
    with pytest.raises(UnsupportedMediaTypeError, match=r"3136 bytes of something else; .* 784 bytes"):
        decoded(np.zeros((28, 28), np.float32).tobytes(), media_type="application/octet-stream")


@pytest.mark.parametrize("length", [756, 783, 785, 812])
def test_the_error_for_a_few_raw_bytes_too_few_or_too_many_says_how_many_there_are(length: int) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match=f"{length} bytes of something else; .* 28 x 28 = 784 bytes"):
        decoded(bytes(length), media_type="application/octet-stream")


# --- what is refused ----------------------------------------------------------------------------------------------


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


def test_a_png_whose_compressed_pixels_are_damaged_is_an_invalid_image() -> None:
    data = encoded(GRADIENT, compress_level=0)
    middle = len(data) // 2
    with pytest.raises(InvalidImageError, match="readable PNG image"):
        decoded(data[:middle] + b"\xff" + data[middle + 1 :])


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_jpeg_is_invalid_at_a_reduced_scale_too(share: float) -> None:
    data = encoded(COLOURFUL.resize((2048, 2048)), "JPEG")
    with pytest.raises(InvalidImageError, match="readable JPEG image"):
        decoded(data[: int(len(data) * share)])


@pytest.mark.parametrize("kind", FORMATS)
def test_a_signature_followed_by_something_else_is_an_invalid_image(kind: str) -> None:
    data = encoded(GRADIENT, kind)[:12] + np.random.default_rng(0).bytes(500)
    with pytest.raises(InvalidImageError, match=f"readable {kind} image, received 512 bytes"):
        decoded(data)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_without_pixels_is_an_invalid_image(kind: str) -> None:
    data = encoded(Image.new("L", (261, 1)), kind)
    empty = data.replace((261).to_bytes(2, "big" if kind in {"PNG", "JPEG"} else "little"), bytes(2))
    assert empty != data
    if kind == "PNG":
        empty = empty[:29] + zlib.crc32(empty[12:29]).to_bytes(4, "big") + empty[33:]
    with pytest.raises(InvalidImageError, match=f"readable {kind} image"):
        decoded(empty)


def test_a_jpeg_of_so_many_scans_that_decoding_would_take_minutes_is_an_invalid_image() -> None:
    data = encoded(COLOURFUL, "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    more = MAX_JPEG_SCANS - data.count(b"\xff\xda\x00")
    assert decoded(data[:-2] + last * more + data[-2:]).format == "JPEG"
    with pytest.raises(InvalidImageError, match=r"at most 100 scans, received 101\. Save"):
        decoded(data[:-2] + last * (more + 1) + data[-2:])


def ftyp(*brands: bytes) -> bytes:
    """Return the first box of an ISO base media file: major brand, minor version, compatible brands."""
    body = b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:])
    return (len(body) + 4).to_bytes(4, "big") + body + b"\x00\x00\x01\x00meta"


@pytest.mark.parametrize(
    ("data", "named"),
    [
        *((ftyp(brand, b"mif1", brand), "HEIC") for brand in (b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1")),
        (ftyp(b"isom", b"mp42", b"heic"), "HEIC"),
        *((ftyp(brand, b"mif1", b"miaf", b"avif"), "AVIF") for brand in (b"avif", b"avis", b"mif1", b"msf1")),
        (b"<svg/>", "SVG"),
        (b"<SVG width='1'>", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\n<?xml version='1.0'?>\n<!-- drawn by hand > -->\n<!-- twice -->\n<svg:svg>", "SVG"),
        (
            b"<?xml version='1.0'?>\n<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'svg11.dtd' [ <!ENTITY a ''>]>",
            "SVG",
        ),
        (gzip.compress(b"a picture", mtime=0), "gzip"),
        (b"PK\x03\x04\x14\0", "ZIP"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\xef\xbb\xbf\r\n%PDF-1.4\n", "PDF"),
    ],
)
def test_well_known_formats_that_are_not_accepted_are_named_with_what_to_do(data: bytes, named: str) -> None:
    with pytest.raises(
        UnsupportedMediaTypeError, match=rf"^Expected an image as PNG, .* received an? {named} file; .+"
    ):
        decoded(data)


@pytest.mark.parametrize(
    ("data", "received"),
    [
        (b"data:image/png;base64,iVBORw0KGgo=", r"a data URI; send the bytes"),
        (base64.b64encode(encoded(GRADIENT)), "base64; decode"),
        (base64.b64encode(encoded(GRADIENT, "JPEG")), "base64; decode"),
        (base64.b64encode(encoded(GRADIENT, "GIF")), "base64; decode"),
        (base64.b64encode(encoded(GRADIENT, "WEBP")), "base64; decode"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '|u1'}", "a NumPy array; send each image"),
        (b"\x00\x00\x08\x03\x00\x00\x27\x10\x00\x00\x00\x1c", "a file of the data set; send each image"),
        (b"HTTPS://shop.example/boot.jpg", "an address; nothing is fetched"),
        (b"\n<!DOCTYPE html><title>404</title>", "an HTML page; perhaps"),
    ],
)
def test_what_is_sent_instead_of_a_picture_is_named_with_what_to_do(data: bytes, received: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match=rf"^Expected an image as PNG, .* received {received}.+"):
        decoded(data)


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"RIFF\x00\x00\x00\x00WAVE",
        ftyp(b"isom", b"mp42"),
        ftyp(b"isom") + b"heic",
        b"\xff\xff\xff\xffftyp",
        b"<?xml version='1.0'?><html><svg/></html>",
        b"<!-- <svg/> --><p>",
        b"<!-- -->" * 1000,
    ],
)
def test_anything_else_is_refused_with_the_list_of_what_is_accepted(data: bytes) -> None:
    with pytest.raises(
        UnsupportedMediaTypeError,
        match=r"PNG, JPEG, WEBP, BMP, GIF or TIFF, received .* something else; save it as PNG or JPEG",
    ):
        decoded(data)


@pytest.mark.parametrize(
    ("media_type", "advice"),
    [
        ("application/json", "send the file itself, not JSON"),
        ("application/x-www-form-urlencoded", "`--data-binary @FILE`"),
    ],
)
def test_media_types_often_sent_by_mistake_are_refused_with_what_to_do(media_type: str, advice: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match=re.escape(advice)):
        decoded(bytes(783), media_type=media_type)


def test_a_jpeg_that_curl_has_cut_is_not_called_damaged() -> None:
    cut = encoded(GRADIENT, "JPEG")[:200]
    for media_type, advice in (("application/x-www-form-urlencoded", "`-d` drops bytes."), ("", "damaged, truncated")):
        with pytest.raises(InvalidImageError, match=rf"received 200 bytes that cannot be decoded.*{advice}"):
            decoded(cut, media_type=media_type)


@pytest.mark.parametrize("kind", FORMATS)
def test_more_pixels_than_the_limit_are_refused_from_the_header_alone(kind: str) -> None:
    data = encoded(Image.new("1", (1100, 1000)), kind)
    header = data if kind == "WEBP" else data[: len(data) // 2]  # libwebp reads no header from a truncated file
    message = r"at most 1000000 pixels, received 1100 x 1000 = 1100000\. Scale"
    with pytest.raises(ImageTooLargeError, match=message):
        decoded(header, max_image_pixels=10**6)


def test_a_jpeg_that_would_be_reduced_below_the_limit_is_refused_all_the_same() -> None:
    data = encoded(Image.new("L", (1024, 1024)), "JPEG")
    assert decoded(data, max_image_pixels=1024 * 1024).pixels.size == (256, 256)
    with pytest.raises(ImageTooLargeError, match="1024 x 1024"):
        decoded(data, max_image_pixels=1024 * 1024 - 1)


NOISE = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)


@pytest.mark.parametrize(
    ("data", "tiny"),
    [
        (encoded(NOISE), True),
        (encoded(Image.fromarray(NOISE).convert("I;16")), True),
        (NOISE.tobytes(), True),
        (encoded(NOISE, transparency=0), False),
        (encoded(Image.new("RGB", (28, 28))), False),
        (encoded(Image.new("L", (29, 28))), False),
        (encoded(Image.new("L", (4000, 3000))), False),
        (encoded(NOISE, "BMP"), False),
        (encoded(NOISE) + bytes(TINY_BYTES), False),
        (encoded(NOISE, "JPEG")[:RAW_BYTES].ljust(RAW_BYTES), False),
        (b"hello", False),
        (b"", False),
    ],
    ids=[
        "PNG",
        "16 bits",
        "raw",
        "transparent",
        "colours",
        "one column more",
        "photo",
        "BMP",
        "long",
        "784 bytes of JPEG",
        "text",
        "no",
    ],
)
def test_only_what_takes_no_time_to_decode_is_tiny(data: bytes, *, tiny: bool) -> None:
    assert is_tiny(data) == tiny


@pytest.mark.parametrize(
    ("kind", "mode", "options", "header_bytes"),
    [
        ("PNG", "RGB", {}, 24),
        ("GIF", "P", {}, 10),
        ("BMP", "RGB", {}, 26),
        ("WEBP", "RGB", {}, 30),
        ("WEBP", "RGBA", {}, 30),
        ("WEBP", "RGB", {"lossless": True}, 30),
    ],
)
def test_a_header_in_a_fixed_place_declares_the_pixels(
    kind: str, mode: str, options: dict[str, object], header_bytes: int
) -> None:
    data = encoded(Image.new(mode, (300, 200)), kind, **options)
    assert declared_pixels(data) == 60_000
    assert [declared_pixels(data[:length]) for length in range(header_bytes)] == [0] * header_bytes


def test_a_png_of_nearly_10_mb_and_one_with_a_colour_profile_are_decoded() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1800, 1850, 3), np.uint8)
    largest = cv2.imencode(".png", noise)[1].tobytes()  # libpng writes chunks of 8 KiB
    assert 9.9e6 < len(largest) < 10 * 2**20
    assert decoded(largest).width == 1850
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decoded(encoded(GRADIENT, icc_profile=profile)).steps == ()


def test_a_top_down_bmp_and_one_of_os2_declare_their_pixels_too() -> None:
    data = encoded(Image.new("RGB", (300, 200)), "BMP")
    assert declared_pixels(data[:22] + struct.pack("<i", -200) + data[26:]) == 60_000
    of_os2 = b"BM" + struct.pack("<IHHIIHHHH", 26 + 3 * 28 * 28, 0, 0, 26, 12, 28, 28, 1, 24) + bytes(3 * 28 * 28)
    assert (decoded(of_os2).width, decoded(of_os2).height) == (28, 28)
    assert declared_pixels(of_os2) == 28 * 28


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_a_jpeg_which_may_be_reduced_and_a_tiff_without_a_fixed_header_declare_nothing(kind: str) -> None:
    assert declared_pixels(encoded(Image.new("RGB", (300, 200)), kind)) == 0


def test_a_png_with_a_second_header_is_not_tiny_since_the_second_counts() -> None:
    forged = encoded(NOISE)[:33] + encoded(Image.new("L", (300, 300)))[8:]
    assert decode(forged, "", 10**6).pixels.size == (300, 300)
    assert not is_tiny(forged)


def test_784_printable_bytes_without_a_line_break_are_pixels() -> None:
    assert decoded(b"A" * 784, "application/octet-stream").format == "RAW"


def test_a_png_that_is_transparent_everywhere_becomes_white() -> None:
    result = decoded(encoded(Image.new("RGBA", (10, 10), (0, 0, 0, 0))))
    assert result.pixels.getpixel((0, 0)) == (255, 255, 255)
    assert result.opacity is not None


def test_an_alpha_of_zero_everywhere_in_a_tiff_is_no_transparency() -> None:
    result = decoded(encoded(Image.new("RGBA", (4, 4), (30, 20, 10, 0)), "TIFF"))
    assert (result.pixels.getpixel((0, 0)), result.opacity) == ((30, 20, 10), None)


def test_a_jpeg_may_have_hundreds_of_comments() -> None:
    data = encoded(Image.new("RGB", (300, 300)), "JPEG")
    assert decoded(data[:2] + b"\xff\xfe\0\4ab" * 500 + data[2:]).format == "JPEG"


def test_the_bits_of_a_webp_that_ask_for_scaling_are_not_part_of_its_width() -> None:
    data = bytearray(encoded(Image.new("RGB", (300, 200)), "WEBP"))
    assert data[12:16] == b"VP8 "
    data[27] |= 0x40
    assert declared_pixels(bytes(data)) == 60_000


@pytest.mark.parametrize(("count", "is_taken"), [(32, True), (33, False)])
@pytest.mark.parametrize("text", [b"iTXt" + b"a\0\1\0\0\0", b"zTXt" + b"a\0\0"], ids=["iTXt", "zTXt"])
def test_a_png_may_have_only_so_many_profiles_and_texts(text: bytes, count: int, *, is_taken: bool) -> None:
    packed = zlib.compress(b"x")
    both = bombs.chunk(b"iCCP", b"a\0\0" + packed) + bombs.chunk(text[:4], text[4:] + packed)
    data = (bombs.png_head() + both * count + bombs.PIXELS + bombs.END).ljust(3000, b"\0")
    with nullcontext() if is_taken else pytest.raises(InvalidImageError, match="texts and colour profiles"):
        assert decoded(data).format == "PNG"


@pytest.mark.parametrize("name", [b"iCCP", b"zTXt"])
def test_a_png_may_have_a_profile_or_a_text_of_more_than_two_megabytes(name: bytes) -> None:
    large = bombs.chunk(name, b"a\0\0" + zlib.compress(bytes(5 * 2**19)))
    assert decoded(bombs.png_head() + large + bombs.PIXELS + bombs.END).format == "PNG"


@pytest.mark.filterwarnings("ignore:Tag data larger than file")  # the service ignores every warning of Pillow
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("numbers", "is_taken"), [(200, True), (230, False)])
def test_the_values_of_a_tiff_s_tags_have_to_fit_into_the_file(order: str, numbers: int, *, is_taken: bool) -> None:
    tags: dict[int, int | tuple[int, int]] = {273: bombs.tiff_data(4), 278: 28, 279: 784, 300: (numbers, 0)}
    data = bombs.tiff(28, 28, tags, bytes(784), order=order)
    with nullcontext() if is_taken else pytest.raises(InvalidImageError, match="tags than fit into it"):
        assert decoded(data).format == "TIFF"


@pytest.mark.filterwarnings("ignore:Tag data larger than file")  # the service ignores every warning of Pillow
@pytest.mark.parametrize(("tags", "is_taken"), [(1, True), (9, False)])
def test_the_values_of_a_bigtiff_s_tags_have_to_fit_into_the_file_too(tags: int, *, is_taken: bool) -> None:
    file = io.BytesIO()
    Image.new("L", (28, 28)).save(file, "TIFF", big_tiff=True)
    whole = file.getvalue()
    (start,) = struct.unpack_from("<Q", whole, 8)
    (count,) = struct.unpack_from("<Q", whole, start)
    entries = whole[start + 8 : start + 8 + 20 * count]
    shared = b"".join(struct.pack("<HHQQ", 40_000 + number, 7, 500, 0) for number in range(tags))
    # The directory moves to the end of the file, where it can grow.
    data = whole[:8] + struct.pack("<Q", len(whole)) + whole[16:]
    data += struct.pack("<Q", count + tags) + entries + shared + bytes(8)
    with nullcontext() if is_taken else pytest.raises(InvalidImageError, match="tags than fit into it"):
        assert decoded(data).format == "TIFF"


@pytest.mark.parametrize("name", [b"iCCP", b"iTXt", b"zTXt"])
def test_a_png_with_a_profile_or_a_text_is_not_tiny(name: bytes) -> None:
    packed = bombs.chunk(name, b"a\0\0" + zlib.compress(b"x"))
    assert is_tiny(bombs.png_head() + bombs.PIXELS + bombs.END)
    assert not is_tiny(bombs.png_head() + packed + bombs.PIXELS + bombs.END)
