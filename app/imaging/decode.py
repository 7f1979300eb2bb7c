"""Decodes the bytes of a picture into upright pixels."""

from __future__ import annotations

import ctypes
import io
import logging
import re
import struct
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageChops, PngImagePlugin, TiffImagePlugin, _imaging

from app.errors import ImageTooLargeError, InvalidImageError, ServiceError, UnsupportedMediaTypeError
from app.imaging.foreign import foreign
from app.model_card import IMAGE_SHAPE

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit warns, then raises; `decode` checks the header itself instead
# A colour profile or an editor's history may unpack to more than the 1 MiB that Pillow accepts. All texts together may
# have fewer characters than it accepts, because each can take four bytes.
PngImagePlugin.MAX_TEXT_CHUNK = 3 * 2**20
PngImagePlugin.MAX_TEXT_MEMORY = 8 * 2**20
# Without libtiff, each strip of an uncompressed file becomes a few Python objects: 2.4 million in 10 MB.
TiffImagePlugin.READ_LIBTIFF = True
# libtiff returns these greys in the byte order of this machine, but Pillow would unpack them in that of the file.
TiffImagePlugin.OPEN_INFO |= {
    (TiffImagePlugin.MM, *key[1:]): modes
    for key, modes in TiffImagePlugin.OPEN_INFO.items()
    if key[0] == TiffImagePlugin.II and modes[0] in {"I", "I;16", "F"}
}
logging.getLogger("PIL").setLevel(logging.WARNING)  # at debug level it logs the contents of tags
# Pillow warns of each damaged tag that it skips, and Python remembers the text of each warning for good. The filter is
# set once for the process, because `warnings.catch_warnings` changes the filters of all threads.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
# libtiff writes a line to standard error for each damaged row: half a million for 400 kB, which takes seconds.
with suppress(OSError, AttributeError):  # a Pillow whose libtiff cannot be reached
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""Accepted formats, by Pillow's names. Only the first frame of an animation or a multi-page file is read."""

RAW_FORMAT, RAW_MEDIA_TYPE = "RAW", "application/octet-stream"
RAW_HEIGHT, RAW_WIDTH = IMAGE_SHAPE
RAW_BYTES = RAW_HEIGHT * RAW_WIDTH
"""A body of this many bytes, sent as octet-stream, that is neither an image by its signature nor text is 28x28 grey
pixels, row by row."""

TINY_BYTES = 2048
"""A grey 28x28 PNG is smaller unless it carries more than pixels; nothing in so few bytes can take long."""

REDUCED_PIXELS = 256
"""A JPEG is decoded at a half, a quarter or an eighth of its size as long as its longer side keeps this many pixels."""

MAX_JPEG_SCANS = 100
"""More scans than a file needs, which is one, or about ten if it is progressive. A scan of a dozen bytes can pass over
all pixels, so 10 MB of them would take hours. Source: the limit of libtiff's JPEG codec."""

MOST_READS = {"BMP": 1_000_000, "GIF": 20_000, "JPEG": 5_000, "PNG": 20_000, "TIFF": 20_000, "WEBP": 100}
"""How often Pillow may read from a file. It parses chunks, segments, tags and runs in Python, a few reads each, and
10 MB can hold millions. A PNG written by libpng needs 5,000 reads, a camera's JPEG 200. Only a BMP has parts, its runs,
that are ordinarily as short as that."""

MAX_PNG_PACKED = 64
"""Most colour profiles and texts of a PNG. Each may be a thousand times as large as its chunk, and Pillow unpacks each,
even one that it then skips because it is not text; an ordinary file has a few."""
_PACKED_CHUNKS = (b"iCCP", b"iTXt", b"zTXt")

MAX_RUN_PIXELS = 4_000_000
"""Most pixels of a run-length encoded BMP, which Pillow unpacks in Python at a tenth of a microsecond a pixel."""
_RUN_COMPRESSIONS = {1, 2}  # BI_RLE8 and BI_RLE4

_SIGNATURES: dict[str, tuple[bytes, ...]] = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "WEBP": (b"RIFF",),
    "BMP": (b"BM",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
}
_RIFF_KIND = slice(8, 12)
# A PNG that begins with the header of a grey 28x28 image; the bit depth stands between size and colour.
_TINY_PNG = re.compile(
    re.escape(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + RAW_WIDTH.to_bytes(4) + RAW_HEIGHT.to_bytes(4)) + rb".\0", re.DOTALL
)
_JPEG_SCAN = b"\xff\xda\x00"  # the marker and the high byte of the length, which is 14 at most

_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value of each type."""

_REDUCTION_STEPS = {2: "decoded_at_half", 4: "decoded_at_quarter", 8: "decoded_at_eighth"}

# How to turn a picture of each EXIF orientation upright; 1 is upright, and other values mean nothing.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = range(5, 9)

_GREY_STEPS = {"L;2": 85, "L;4": 17}
"""Step from one grey of a 2 or 4 bit PNG to the next, in 8-bit levels, by Pillow's name of the raw mode."""

_OF_CURL_D = "application/x-www-form-urlencoded"
_ADVICE = {
    "application/json": "; send the file itself, not JSON",
    _OF_CURL_D: "; with curl send it by `-F file=@FILE` or `--data-binary @FILE`: `-d` drops bytes",
}
"""Advice for what is commonly sent by mistake, by media type."""
_TEXT = bytes([*b"\t\n\r", *range(ord(" "), ord("~") + 1)])


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded picture.

    Attributes:
        pixels: Pillow image of mode `L` or `RGB`, upright, without transparency.
        format: Format of the file, one of `FORMATS` or `RAW`.
        width: Width of the file in pixels, once upright.
        height: Height of the file in pixels, once upright.
        reduction: How many pixels of the file, along each side, one of `pixels` stands for: 1, 2, 4 or 8.
        steps: What was done to the pixels, in order.
        opacity: Pillow image of mode `L`, as large as `pixels`, 0 where the file is transparent; None if it is opaque.
    """

    pixels: Image.Image
    format: str
    width: int
    height: int
    reduction: int
    steps: tuple[str, ...]
    opacity: Image.Image | None = None


class _FrugalFile(io.BytesIO):
    """A file in memory that may be read from only so often."""

    def __init__(self, data: bytes, kind: str) -> None:
        """Wrap the bytes; their format sets how often they may be read."""
        super().__init__(data)
        self._kind = kind
        self._reads_left = MOST_READS[kind]

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as from any file.

        Raises:
            InvalidImageError: The file was read from more often than its format may be.
        """
        self._reads_left -= 1
        if self._reads_left < 0:
            raise InvalidImageError(_too_many(self._kind, "parts than a picture needs"))
        return super().read(size)


def decode(data: bytes, media_type: str, max_image_pixels: int) -> Decoded:
    """Decode a picture, reducing a large JPEG, turn it upright, and composite it on white where it is transparent.

    Args:
        data: The encoded bytes; they decide the format, whatever the sender calls it.
        media_type: What the sender calls the format; matters only for raw pixels and for the advice in a refusal.
        max_image_pixels: Largest width times height; a picture whose header announces more is refused.

    Raises:
        InvalidImageError: Nothing was sent, the file is damaged, or it would take too long: it exceeds `MOST_READS`,
            `MAX_JPEG_SCANS` or `MAX_PNG_PACKED`.
        UnsupportedMediaTypeError: The bytes are in none of `FORMATS`.
        ImageTooLargeError: The header announces more than `max_image_pixels`.
    """
    if not data:
        raise InvalidImageError(InvalidImageError.example)
    kind = accepted_format(data)
    if kind is None and len(data) == RAW_BYTES and media_type == RAW_MEDIA_TYPE and not _is_text(data):
        pixels = Image.frombytes("L", (RAW_WIDTH, RAW_HEIGHT), data)
        return Decoded(pixels, RAW_FORMAT, RAW_WIDTH, RAW_HEIGHT, reduction=1, steps=())
    if kind is None:
        raise UnsupportedMediaTypeError(_explain(data, media_type))
    try:
        return _decode(data, kind, max_image_pixels)
    except ServiceError:
        raise
    except Exception as error:  # Pillow's decoders raise almost anything on damaged bytes
        msg = f"Expected a readable {kind} image, received {len(data)} bytes that cannot be decoded"
        damaged = ". The file is damaged, truncated or of a rare kind: send it again, or as PNG"
        msg += f"{_ADVICE[media_type] if media_type == _OF_CURL_D else damaged}."
        raise InvalidImageError(msg) from error


def declared_pixels(data: bytes) -> int:
    """Return how many pixels the header announces, if it has a fixed place in the format; else 0.

    The header may announce more pixels than `decode` would ever look at. That of a JPEG does not matter, since a large
    JPEG is decoded reduced, and that of a TIFF may stand anywhere.
    """
    if data.startswith(_SIGNATURES["PNG"]) and len(data) >= 24:  # noqa: PLR2004  where the size ends
        width, height = struct.unpack_from(">II", data, 16)
    elif data.startswith(_SIGNATURES["GIF"]) and len(data) >= 10:  # noqa: PLR2004
        width, height = struct.unpack_from("<HH", data, 6)
    elif data.startswith(_SIGNATURES["BMP"]) and len(data) >= 26:  # noqa: PLR2004
        # The 12-byte header of OS/2 has 16-bit sizes; in others, a negative height means that rows begin at the top.
        width, height = map(abs, struct.unpack_from("<HH" if data[14] == 12 else "<ii", data, 18))  # noqa: PLR2004
    elif data.startswith(_SIGNATURES["WEBP"]) and len(data) >= 30:  # noqa: PLR2004
        width, height = _webp_size(data)
    else:
        return 0
    return int(width * height)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Read width and height from the first chunk, whichever kind it is.

    Source:
        RFC 9649, sections 2.5 to 2.7.
    """
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def is_tiny(data: bytes) -> bool:
    """Tell whether decoding is faster than handing it to a thread would be: 28x28 grey pixels, as a PNG or raw."""
    if len(data) > TINY_BYTES:
        return False
    if _TINY_PNG.match(data):
        # Pillow believes the last header. A transparent picture may have to be separated, which takes a network, and a
        # kilobyte of text may unpack to a megabyte.
        return data.count(b"IHDR") == 1 and b"tRNS" not in data and not any(name in data for name in _PACKED_CHUNKS)
    return len(data) == RAW_BYTES and accepted_format(data) is None


def _decode(data: bytes, kind: str, max_image_pixels: int) -> Decoded:
    if kind == "PNG" and sum(map(data.count, _PACKED_CHUNKS)) > MAX_PNG_PACKED:
        raise InvalidImageError(_too_many(kind, "texts and colour profiles than a picture needs"))
    file = io.BytesIO(data) if len(data) <= TINY_BYTES else _FrugalFile(data, kind)
    image: Image.Image = Image.open(file, formats=[kind])
    width, height = image.size
    _require_modest(image, data, kind, max_image_pixels)
    reduction = _reduce(image)
    steps = [_REDUCTION_STEPS[reduction]] if reduction > 1 else []
    orientation = _load(image, kind)
    if orientation in _TURNS:
        steps.append("exif_transpose")
        if kind != "TIFF":  # Pillow has turned a TIFF already
            image = image.transpose(_TURNS[orientation])
            if orientation in _SIDEWAYS:
                width, height = height, width
    if image.mode in {"I", "F"}:  # modes without a range of their own
        steps.append("stretched")
    opacity = None
    if image.has_transparency_data:
        image, opacity = _on_white(image, kind)
        steps += ["composited_on_white"] if opacity else []
    else:
        image = _to_grey_or_rgb(image)
    return Decoded(image, kind, width, height, reduction, tuple(steps), opacity)


def _require_modest(image: Image.Image, data: bytes, kind: str, max_image_pixels: int) -> None:
    """Refuse a picture that would take too much time or memory, before its pixels are decoded.

    Raises:
        ImageTooLargeError: The picture, or one of its tiles, has too many pixels.
        InvalidImageError: The picture has too many scans, or tags that do not fit into the file.
    """
    width, height = image.size
    if kind == "BMP" and image.info.get("compression") in _RUN_COMPRESSIONS:
        max_image_pixels = min(max_image_pixels, MAX_RUN_PIXELS)
    if width * height > max_image_pixels:
        msg = f"Expected at most {max_image_pixels} pixels, received {width} x {height} = {width * height}. "
        msg += "Scale the picture down; the model looks at 28 x 28."
        raise ImageTooLargeError(msg)
    if kind == "TIFF" and _tag_bytes(data) > len(data):
        raise InvalidImageError(_too_many(kind, "tags than fit into it"))
    if kind == "TIFF" and (tile := _tile_pixels(image)) > max_image_pixels:
        msg = f"Expected tiles of at most {max_image_pixels} pixels, received some of {tile}. Save it again as PNG."
        raise ImageTooLargeError(msg)
    if kind == "JPEG" and (scans := data.count(_JPEG_SCAN)) > MAX_JPEG_SCANS:
        msg = f"Expected a JPEG of at most {MAX_JPEG_SCANS} scans, received {scans}. Save it again as a baseline JPEG."
        raise InvalidImageError(msg)


def _too_many(kind: str, what: str) -> str:
    return f"Expected an ordinary {kind}, received one with more {what}. Save it again with another program."


def _tag_bytes(data: bytes) -> int:
    """Return the size of all values that the first directory of a TIFF announces, each of which libtiff copies.

    Values may overlap: a hundred tags that all point at the same 10 MB would take a gigabyte.

    Source:
        TIFF 6.0, section 2; the BigTIFF design of libtiff.
    """
    order = "<" if data.startswith(b"II") else ">"
    is_big = data[2:4] in {b"+\0", b"\0+"}
    offset, count, entry = ("Q", "Q", "HHQ8x") if is_big else ("L", "H", "HHL4x")
    (start,) = struct.unpack_from(order + offset, data, 8 if is_big else 4)
    (entries,) = struct.unpack_from(order + count, data, start)
    first, size = start + struct.calcsize(order + count), struct.calcsize(order + entry)
    whole = min(entries, (len(data) - first) // size)
    values = struct.iter_unpack(order + entry, data[first : first + whole * size])
    return sum(number * _TIFF_BYTES.get(kind, 0) for _, kind, number in values)


def _tile_pixels(image: Image.Image) -> int:
    """Return the pixels in one tile of a TIFF; libtiff unpacks a whole tile even for a picture of one pixel."""
    tags: dict[int, int] = getattr(image, "tag_v2", {})
    return int(tags.get(TiffImagePlugin.TILEWIDTH, 0)) * int(tags.get(TiffImagePlugin.TILELENGTH, 0))


def _reduce(image: Image.Image) -> int:
    """Have a large JPEG decoded at a smaller size, which saves most of the work, and return the reduction."""
    longer = max(image.size)
    if longer < 2 * REDUCED_PIXELS:
        return 1
    width, height = (max(1, side * REDUCED_PIXELS // longer) for side in image.size)
    image.draft("RGB", (width, height))  # other formats ignore it; grey and CMYK keep their mode
    return round(longer / max(image.size))


def _load(image: Image.Image, kind: str) -> int:
    """Load the pixels and return the EXIF orientation of the file."""
    if kind == "TIFF":  # Pillow turns a TIFF upright as it loads it, and forgets the tag
        orientation = _orientation(image)
        image.load()
        return orientation
    if kind == "PNG":
        _scale_transparency(image)
    image.load()  # before the tags are read: a PNG may have them after the pixels
    return _orientation(image)


def _orientation(image: Image.Image) -> int:
    for name in ("xmp", "XML:com.adobe.xmp"):  # Pillow would read it from XMP as well, and no browser does
        image.info.pop(name, None)
    with suppress(Exception):  # tags that cannot be read are no reason to refuse pixels that can
        exif = Image.Exif()
        if "exif" in image.info:
            exif.load(image.info["exif"])
        else:  # which keeps what Pillow read while it opened a file that has both
            exif = image.getexif()
        return int(exif.get(ExifTags.Base.Orientation, 1))
    return 1


def _scale_transparency(image: Image.Image) -> None:
    """Scale a PNG's one transparent value to 8 bits: Pillow scales the pixels, but not this value."""
    transparent, tiles = image.info.get("transparency"), getattr(image, "tile", None)
    raw_mode = tiles[0].args if tiles else None
    if isinstance(transparent, int) and raw_mode in _GREY_STEPS:
        image.info["transparency"] = transparent * _GREY_STEPS[raw_mode]
    elif isinstance(transparent, tuple) and raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(level >> 8 for level in transparent)


def _on_white(image: Image.Image, kind: str) -> tuple[Image.Image, Image.Image | None]:
    """Return a picture composited on white, and its opacity; None for the latter if it was opaque everywhere."""
    if image.mode.startswith("I;16"):  # one of its greys is transparent; Pillow's `convert` would clip the others
        is_transparent = Image.fromarray(np.asarray(image) == image.info["transparency"])
        grey = _scaled_to_8_bit(image)
        grey.paste(255, mask=is_transparent)
        return grey, _unless_full(ImageChops.invert(is_transparent.convert("L")))
    straight = image.convert("LA") if image.mode == "La" else image  # a TIFF's associated alpha
    rgba = straight if straight.mode == "RGBA" else straight.convert("RGBA")  # `convert` would copy it
    opacity = _unless_full(rgba.getchannel("A"))
    # Programs that do not support opacity leave the fourth sample 0 everywhere.
    if opacity is None or (kind in {"BMP", "TIFF"} and opacity.getextrema() == (0, 0)):
        return rgba.convert("RGB"), None
    canvas = Image.new("RGB", rgba.size, "white")
    canvas.paste(rgba, mask=rgba)
    return canvas, opacity


def _unless_full(opacity: Image.Image) -> Image.Image | None:
    return None if opacity.getextrema() == (255, 255) else opacity


def _to_grey_or_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _scaled_to_8_bit(image)
    mode = "L" if image.mode in {"1", "L"} else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _scaled_to_8_bit(image: Image.Image) -> Image.Image:
    """Scale greys of up to 16 bits by the range of their type, wider ones by the values found; `convert` would clip."""
    tags: dict[int, Any] = getattr(image, "tag_v2", {})
    with np.errstate(invalid="ignore"):  # NumPy would warn of NaN, which is refused below
        values = np.array(image, np.float64)
    if image.mode == "I" and tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,)) == (1,):
        values %= 2**32  # Pillow reads them as signed
    highest = 4095.0 if tags.get(TiffImagePlugin.BITSPERSAMPLE) == (12,) else 65535.0
    low, high = (0.0, highest) if image.mode.startswith("I;16") else (float(values.min()), float(values.max()))
    if not np.isfinite(low + high):
        msg = "not a finite number"
        raise ValueError(msg)
    values -= low  # in place: at 50 megapixels each copy takes 400 MB
    values *= 255 / ((high - low) or 1)
    grey = np.rint(values, out=values).astype(np.uint8)
    # Pillow inverts white-is-zero greys only at 8 bits.
    return Image.fromarray(~grey if tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0 else grey)


def accepted_format(data: bytes) -> str | None:
    """Return Pillow's name of the format that the first bytes belong to; None if it is not one of `FORMATS`."""
    kind = next((name for name, signatures in _SIGNATURES.items() if data.startswith(signatures)), None)
    return None if kind == "WEBP" and data[_RIFF_KIND] != b"WEBP" else kind


def _is_text(data: bytes) -> bool:
    """Tell whether bytes are lines of text: no picture consists of just the levels that they would be."""
    return b"\n" in data and not data.translate(None, _TEXT)


def _explain(data: bytes, media_type: str) -> str:
    received = foreign(data) or f"{len(data)} bytes of something else{_advice(len(data), media_type)}"
    return f"Expected an image as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, received {received}."


def _advice(length: int, media_type: str) -> str:
    if length == RAW_BYTES and media_type != RAW_MEDIA_TYPE:
        return f"; pixels without a format need the Content-Type {RAW_MEDIA_TYPE}"
    is_near = abs(length - RAW_BYTES) <= RAW_WIDTH  # as if a row was lost, or a line break was added
    if media_type == RAW_MEDIA_TYPE and length != RAW_BYTES and (is_near or length % RAW_BYTES == 0):
        return f"; pixels without a format are {RAW_HEIGHT} x {RAW_WIDTH} = {RAW_BYTES} bytes, one for each"
    return _ADVICE.get(media_type, "; save it as PNG or JPEG, and send the file itself")
