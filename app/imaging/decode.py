"""Decodes the bytes of a picture into upright pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, ImageOps

from app.errors import ImageTooLargeError, InvalidImageError, UnsupportedMediaTypeError
from app.model_card import IMAGE_SHAPE

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit warns, then raises; `decode` reads the header and refuses by itself

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""What is accepted, by Pillow's names; of animations and multi-page files the first frame counts."""

RAW_MEDIA_TYPE = "application/octet-stream"
RAW_HEIGHT, RAW_WIDTH = IMAGE_SHAPE
RAW_BYTES = RAW_HEIGHT * RAW_WIDTH
"""A body of this many bytes without an image's signature, sent as octet-stream, is 28x28 grey pixels, row by row."""

TURNED_ORIENTATIONS = range(2, 9)
"""EXIF's values for pictures that are stored turned or mirrored; 1 is upright and others mean nothing."""

_SIGNATURES: dict[str, tuple[bytes, ...]] = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "WEBP": (b"RIFF",),
    "BMP": (b"BM",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
}
_RIFF_KIND = slice(8, 12)

_HINTS = {
    "HEIC": "save it as JPEG first: on an iPhone, Settings > Camera > Formats > Most Compatible",
    "AVIF": "save it as JPEG or PNG first",
    "SVG": "draw it to a PNG first",
    "PDF": "save the page as PNG first",
}
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded picture.

    Attributes:
        pixels: Pillow image of mode `L` or `RGB`, upright, without transparency.
        format: Format of the file, one of `FORMATS` or `RAW`.
        width: Of the file, in pixels, before it was turned upright.
        height: Likewise.
        steps: What was done to the pixels, in order.
    """

    pixels: Image.Image
    format: str
    width: int
    height: int
    steps: tuple[str, ...]


def decode(data: bytes, media_type: str, max_image_pixels: int) -> Decoded:
    """Decode a picture, turn it upright and put it on white where it is transparent.

    Args:
        data: The encoded bytes; they decide the format, whatever the sender calls it.
        media_type: What the sender calls it; matters for raw pixels alone.
        max_image_pixels: Width times height above which the header is enough to refuse.

    Raises:
        InvalidImageError: Nothing was sent, or the file is damaged.
        UnsupportedMediaTypeError: The bytes are none of `FORMATS`.
        ImageTooLargeError: The header announces more than `max_image_pixels`.
    """
    if not data:
        msg = "Expected the bytes of an image, received none. Send the file itself as the body or as the field `file`."
        raise InvalidImageError(msg)
    kind = _accepted_format(data)
    if kind is None and len(data) == RAW_BYTES and media_type == RAW_MEDIA_TYPE:
        pixels = Image.frombytes("L", (RAW_WIDTH, RAW_HEIGHT), data)
        return Decoded(pixels, "RAW", RAW_WIDTH, RAW_HEIGHT, ())
    if kind is None:
        raise UnsupportedMediaTypeError(_explain(data))
    try:
        return _decode(data, kind, max_image_pixels)
    except ImageTooLargeError:
        raise
    except Exception as error:  # foreign bytes: Pillow's decoders raise almost anything on damaged ones
        msg = f"Expected a readable {kind} image, received {len(data)} bytes that Pillow cannot decode. "
        msg += "The file is damaged or was cut off on its way; send it again."
        raise InvalidImageError(msg) from error


def _decode(data: bytes, kind: str, max_image_pixels: int) -> Decoded:
    with Image.open(io.BytesIO(data), formats=[kind]) as image:
        width, height = image.size
        if width * height > max_image_pixels:
            msg = f"Expected at most {max_image_pixels} pixels, received {width} x {height} = {width * height}. "
            msg += "Scale the picture down; the model looks at 28 x 28."
            raise ImageTooLargeError(msg)
        image.load()
        steps = []
        if image.getexif().get(ExifTags.Base.Orientation, 1) in TURNED_ORIENTATIONS:
            steps.append("exif_transpose")
            ImageOps.exif_transpose(image, in_place=True)  # in place: a picture of 50 megapixels is not copied
        if image.has_transparency_data:
            steps.append("composited_on_white")
            rgba = image.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
        else:
            upright = _to_grey_or_rgb(image)
    return Decoded(upright, kind, width, height, tuple(steps))


def _to_grey_or_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _scaled_to_8_bit(image)
    mode = "L" if image.mode in {"1", "L"} else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _scaled_to_8_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey by its own range, anything wider by the values it holds; Pillow's `convert` would clip."""
    values = np.asarray(image, np.float64)
    low, high = (0.0, 65535.0) if image.mode.startswith("I;16") else (float(values.min()), float(values.max()))
    if not np.isfinite(low + high):
        msg = "not a finite number"
        raise ValueError(msg)
    return Image.fromarray(np.rint((values - low) * (255 / ((high - low) or 1))).astype(np.uint8))


def _accepted_format(data: bytes) -> str | None:
    kind = next((name for name, signatures in _SIGNATURES.items() if data.startswith(signatures)), None)
    return None if kind == "WEBP" and data[_RIFF_KIND] != b"WEBP" else kind


def _explain(data: bytes) -> str:
    other = _foreign_format(data)
    received = f"a {other} file; {_HINTS[other]}" if other else f"{len(data)} bytes of something else"
    return f"Expected an image as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, received {received}."


def _foreign_format(data: bytes) -> str | None:
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        return "AVIF" if brand in _AVIF_BRANDS else "HEIC" if brand in _HEIC_BRANDS else None
    if start.startswith(b"%pdf-"):
        return "PDF"
    return "SVG" if start.startswith((b"<svg", b"<?xml")) and b"<svg" in start else None
