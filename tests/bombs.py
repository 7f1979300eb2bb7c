"""Small files that take much memory or time to decode without limits; `python -m tests.bombs` measures each."""

from __future__ import annotations

import io
import json
import struct
import sys
import time
import zlib
from ctypes import CDLL
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from app.errors import ServiceError
from app.imaging.decode import decode
from app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_BYTES = Settings().max_body_bytes
MEBIBYTE = 2**20
MEASURED = Path("/proc/self/status")
"""Where Linux reports the peak memory of a process."""


class Bomb(NamedTuple):
    """A file and its expected outcome: an error code or `answered`, or `A or B` where that depends on the system."""

    make: Callable[[], bytes]
    outcome: str


def filled(unit: bytes, head: bytes = b"", tail: bytes = b"") -> bytes:
    """Repeat a unit as often as the size limit of a body allows."""
    return head + unit * ((LIMIT_BYTES - len(head) - len(tail)) // len(unit)) + tail


# --- PNG ----------------------------------------------------------------------------------------------------------


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_head(width: int = 28, height: int = 28) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


PIXELS = chunk(b"IDAT", zlib.compress(bytes(29 * 28)))
END = chunk(b"IEND")
EXIF_NAME = b"Raw profile type exif\0\0"
DEFLATED = zlib.compress(bytes(MEBIBYTE - 1), 9)
"""A mebibyte of zeros, compressed to a kilobyte."""


def international(text: bytes) -> bytes:
    return chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(text, 9))


def png_of(unit: bytes, *, behind: bool = False) -> bytes:
    return filled(unit, png_head() + PIXELS, END) if behind else filled(unit, png_head(), PIXELS + END)


def animated_png(side: int) -> bytes:
    control = struct.pack(">IIIIIHHBB", 0, side, side, 0, 0, 1, 1, 0, 0)
    return png_head() + chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)) + chunk(b"fcTL", control) + PIXELS + END


# --- JPEG ---------------------------------------------------------------------------------------------------------


def progressive(side: int, scans: int) -> bytes:
    """Return a JPEG whose last scan is repeated until it has the given number of scans."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (200, 30, 90)).save(buffer, "JPEG", progressive=True, subsampling=0)
    data = buffer.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * (scans - data.count(b"\xff\xda\0")) + data[-2:]


def with_restarts(interval: int) -> bytes:
    data = progressive(500, 10)
    return data[:2] + b"\xff\xdd\0\4" + struct.pack(">H", interval) + data[2:]


def jpeg_header(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xda\0\x08\1\1\0\0\x3f\0\0\xff\xd9"


# --- GIF, BMP, WebP -----------------------------------------------------------------------------------------------


def gif_head(width: int = 28, height: int = 28) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0)


def gif_frame(width: int, height: int) -> bytes:
    return b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2\2D\1\0"


def bmp_of_runs(runs: bytes, width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 40 + 1024) + info + bytes(1024) + runs


def webp(width: int, height: int, frames: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "WEBP", lossless=True)
    frame = bytes(6) + b"\1\0\0\1\0\0\1\0\0\0" + buffer.getvalue()[12:]
    canvas = b"\2\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    parts = b"VP8X" + struct.pack("<I", 10) + canvas + b"ANIM" + struct.pack("<I", 6) + bytes(6)
    parts += (b"ANMF" + struct.pack("<I", len(frame)) + frame) * frames
    return b"RIFF" + struct.pack("<I", len(parts) + 4) + b"WEBP" + parts


# --- TIFF ---------------------------------------------------------------------------------------------------------

GREY = {258: 8, 262: 1, 277: 1}  # bits, photometric, samples
DEFLATE = 8


def tiff(
    width: int,
    height: int,
    tags: dict[int, int | tuple[int, int]],
    data: bytes = b"",
    following: int = 0,
    order: str = "<",
) -> bytes:
    """Make a TIFF; a tag's value is a number, or a count and the offset of that many four-byte numbers."""
    entries = sorted({256: width, 257: height, 259: 1, **GREY, **tags}.items())
    packed = (
        struct.pack(order + "HHLL", tag, 4, *(one if isinstance(one, tuple) else (1, one))) for tag, one in entries
    )
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HLH", 42, 8, len(entries))
    return head + b"".join(packed) + struct.pack(order + "L", following) + data


def tiff_data(tags: int) -> int:
    """Return the offset of the data in a TIFF with the given number of tags beyond the six that `tiff` always sets."""
    return 8 + 2 + 12 * (6 + tags) + 4


def many_strips(count: int) -> bytes:
    start = tiff_data(3)
    arrays = struct.pack("<L", start) * count + struct.pack("<L", 1) * count
    return tiff(1, count, {273: (count, start), 278: 1, 279: (count, start + 4 * count)}, arrays)


def huge_tile(side: int, compression: int) -> bytes:
    data = zlib.compress(bytes(64 * MEBIBYTE), 9)
    return tiff(1, 1, {259: compression, 322: side, 323: side, 324: tiff_data(4), 325: len(data)}, data)


def huge_strip(rows: int) -> bytes:
    data = zlib.compress(bytes(64 * MEBIBYTE), 9)
    return tiff(28, 28, {259: DEFLATE, 273: tiff_data(3), 278: rows, 279: len(data)}, data)


def many_tags(count: int) -> bytes:
    return tiff(28, 28, {300 + number: (1000, 0) for number in range(count)})


def shared_data(count: int) -> bytes:
    largest = LIMIT_BYTES // 4 - 1000
    return tiff(28, 28, {300 + number: (largest, 0) for number in range(count)}).ljust(LIMIT_BYTES, b"\0")


BOMBS = {
    "PNG of a huge header": Bomb(lambda: png_head(2**31 - 1, 2**31 - 1) + PIXELS + END, "image_too_large"),
    "PNG of two headers": Bomb(lambda: png_head() + png_head(50_000, 50_000)[8:] + PIXELS + END, "image_too_large"),
    "PNG of many chunks": Bomb(lambda: png_of(chunk(b"teSt")), "invalid_image"),
    "PNG of many chunks behind": Bomb(lambda: png_of(chunk(b"teSt"), behind=True), "invalid_image"),
    "PNG of pixels in crumbs": Bomb(lambda: png_of(chunk(b"IDAT", b"\0")), "invalid_image"),
    "PNG of texts": Bomb(lambda: png_of(chunk(b"zTXt", b"a\0\0" + DEFLATED)), "invalid_image"),
    "PNG of international texts": Bomb(lambda: png_of(chunk(b"iTXt", b"a\0\1\0\0\0" + DEFLATED)), "invalid_image"),
    "PNG of texts in no encoding": Bomb(lambda: png_of(international(b"\xff" * MEBIBYTE)), "invalid_image"),
    "PNG of as many of these as are allowed": Bomb(
        lambda: png_head() + 64 * international(b"\xff" * (3 * MEBIBYTE)) + PIXELS + END, "answered"
    ),
    "PNG of texts of wide characters": Bomb(
        lambda: png_head() + 2 * international(b"a" * (3 * MEBIBYTE - 4) + "👕".encode()) + PIXELS + END, "answered"
    ),
    "PNG of EXIF in short lines": Bomb(
        lambda: (
            png_head()
            + chunk(b"zTXt", EXIF_NAME + zlib.compress(b"\nexif\n8" + b"\n00" * (MEBIBYTE - 9), 9))
            + PIXELS
            + END
        ),
        "answered",
    ),
    "PNG of profiles": Bomb(lambda: png_of(chunk(b"iCCP", b"a\0\0" + DEFLATED)), "invalid_image"),
    "PNG of profiles behind": Bomb(lambda: png_of(chunk(b"iCCP", b"a\0\0" + DEFLATED), behind=True), "invalid_image"),
    "PNG of more pixels than announced": Bomb(
        lambda: png_head() + chunk(b"IDAT", zlib.compress(bytes(256 * MEBIBYTE), 9)) + END, "answered"
    ),
    "APNG of two thousand million frames": Bomb(lambda: animated_png(28), "answered"),
    "APNG of a huge frame": Bomb(lambda: animated_png(2**31 - 1), "invalid_image"),
    "JPEG of a huge header": Bomb(lambda: jpeg_header(65_535, 65_535), "image_too_large"),
    "JPEG of many segments": Bomb(lambda: filled(b"\xff\xfe\0\2", b"\xff\xd8"), "invalid_image"),
    "JPEG of EXIF in crumbs": Bomb(lambda: filled(b"\xff\xe1\0\nExif\0\0ab", b"\xff\xd8"), "invalid_image"),
    "JPEG of fill bytes": Bomb(lambda: filled(b"\xff", b"\xff\xd8"), "invalid_image"),
    "JPEG of as many scans as are allowed": Bomb(lambda: progressive(1500, 100), "answered"),
    "JPEG of one scan more": Bomb(lambda: progressive(1500, 101), "invalid_image"),
    "JPEG of the longest restart interval": Bomb(lambda: with_restarts(65_535), "answered"),
    "GIF of a huge screen": Bomb(lambda: gif_head(65_535, 65_535) + gif_frame(1, 1) + b";", "image_too_large"),
    "GIF of a frame larger than its screen": Bomb(
        lambda: gif_head(1, 1) + gif_frame(65_535, 65_535) + b";", "image_too_large"
    ),
    "GIF of many frames": Bomb(lambda: filled(gif_frame(28, 28), gif_head(), b";"), "invalid_image"),
    "GIF of a comment in crumbs": Bomb(lambda: filled(b"\1a", gif_head() + b"!\xfe", b"\0;"), "invalid_image"),
    "GIF of many extensions": Bomb(lambda: filled(b"!\xf9\4\0\0\0\0\0", gif_head(), b";"), "invalid_image"),
    "TIFF of a huge header": Bomb(lambda: tiff(2**31, 2**31, {273: 8, 279: 1}), "image_too_large"),
    "TIFF of many strips": Bomb(lambda: many_strips(LIMIT_BYTES // 8 - 100), "answered"),
    "TIFF of a huge tile": Bomb(lambda: huge_tile(32_768, DEFLATE), "image_too_large"),
    "TIFF of a huge strip": Bomb(lambda: huge_strip(2**32 - 1), "answered"),
    "TIFF of many tags": Bomb(lambda: many_tags(65_000), "invalid_image"),
    "TIFF of tags that share their data": Bomb(lambda: shared_data(100), "invalid_image"),
    "TIFF that refers to itself": Bomb(
        lambda: tiff(28, 28, {273: tiff_data(3), 278: 28, 279: 784}, bytes(784), following=8), "answered"
    ),
    "WebP of a huge canvas": Bomb(lambda: webp(16_384, 16_384, 1), "image_too_large"),
    "WebP of the largest canvas": Bomb(lambda: webp(65_535, 65_535, 1), "image_too_large or invalid_image"),
    "WebP of many frames": Bomb(lambda: webp(28, 28, 100_000), "answered"),
    "BMP of a huge header": Bomb(lambda: bmp_of_runs(b"\0\1", 2**31 - 1, 2**31 - 1), "image_too_large"),
    "BMP of short runs": Bomb(lambda: bmp_of_runs(filled(b"\1a"), 2000, 2000), "invalid_image"),
    "BMP of ends of lines": Bomb(lambda: bmp_of_runs(filled(b"\1a\0\0"), 2000, 2000), "answered"),
    "BMP of runs over many pixels": Bomb(lambda: bmp_of_runs(b"\xffa" * 99, 2001, 2000), "image_too_large"),
    "BMP of nothing": Bomb(lambda: bmp_of_runs(filled(b"\0\2\0\0"), 2000, 2000), "invalid_image"),
}


def peak_bytes() -> int:
    (line,) = (line for line in MEASURED.read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def explode(bomb: Bomb) -> tuple[str, int, float]:
    """Decode a bomb; return the outcome, its peak memory in bytes, and its processor time in seconds."""
    data = bomb.make()
    CDLL(None).malloc_trim(0)  # else reusing memory that earlier bombs freed would hide the peak of this one
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before, started = peak_bytes(), time.thread_time()
    try:
        decode(data, "image/png", Settings().max_image_pixels)
        outcome = "answered"
    except ServiceError as error:
        outcome = error.code
    return outcome, peak_bytes() - before, time.thread_time() - started


if __name__ == "__main__":
    json.dump({name: explode(bomb) for name, bomb in BOMBS.items()}, sys.stdout)
