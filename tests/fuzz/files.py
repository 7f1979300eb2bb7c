"""Makes small pictures of every accepted format, intact and damaged; the same seed makes the same files."""

from __future__ import annotations

import zlib
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from app.imaging.decode import FORMATS
from tests.conftest import encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UPRIGHT, LEFT = 1, 6
HEADER_BYTES = 32


def picture(mode: str, size: tuple[int, int], seed: int = 0) -> Image.Image:
    width, height = size
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    return Image.fromarray(noise).convert(mode)


def written(mode: str, kind: str, size: tuple[int, int], orientation: int = UPRIGHT, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    exif[0x0112] = orientation
    return encoded(picture(mode, size), kind, exif=exif, **options)


@cache
def intact_files(kind: str) -> tuple[bytes, ...]:
    """Return small files that together cover a format's features."""
    size = (40, 30)
    frames = {"save_all": True, "append_images": [picture("RGB", size, seed=1)]}
    variants: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "PNG": [("L", {}), ("RGB", {}), ("RGBA", {}), ("P", {"transparency": 3}), ("I;16", {}), ("RGB", frames)],
        "JPEG": [("L", {}), ("RGB", {"dpi": (72, 72)}), ("CMYK", {}), ("RGB", {"progressive": True})],
        "WEBP": [("RGB", {}), ("RGBA", {}), ("RGB", {"lossless": True}), ("RGB", frames)],
        "BMP": [("1", {}), ("L", {}), ("P", {}), ("RGB", {}), ("RGBA", {})],
        "GIF": [("L", {}), ("P", {"transparency": 3}), ("RGB", {"interlace": True}), ("RGB", frames)],
        "TIFF": [
            *(("RGB", {"compression": name}) for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
            ("1", {"compression": "group4"}),
            *((mode, {}) for mode in ("L", "P", "RGBA", "CMYK", "LAB", "I;16", "F")),
            ("RGB", frames),
        ],
    }
    return tuple(written(mode, kind, size, LEFT, **options) for mode, options in variants[kind])


# --- damages ------------------------------------------------------------------------------------------------------


def with_flipped_bits(data: bytes, rng: np.random.Generator) -> bytes:
    damaged = np.frombuffer(data, np.uint8).copy()
    places = rng.integers(0, len(data), rng.integers(1, 12))
    damaged[places] ^= rng.integers(1, 256, len(places), np.uint8)
    return damaged.tobytes()


def cut_off(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(1, len(data))]


def with_a_gap(data: bytes, rng: np.random.Generator) -> bytes:
    start, end = sorted(rng.integers(1, len(data), 2))
    return data[:start] + data[end:]


def with_an_insertion(data: bytes, rng: np.random.Generator) -> bytes:
    place = rng.integers(1, len(data))
    return data[:place] + rng.bytes(int(rng.integers(1, 50))) + data[place:]


def with_a_duplicate(data: bytes, rng: np.random.Generator) -> bytes:
    start, end = sorted(rng.integers(1, len(data), 2))
    return data[:end] + data[start:]


def with_another_length(data: bytes, rng: np.random.Generator) -> bytes:
    """Overwrite two or four bytes near the start, where lengths and sizes are stored, with a critical number."""
    number = int(rng.choice([0, 1, 2, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
    width = 2 if number <= 0xFFFF and rng.random() < 0.5 else 4
    place = rng.integers(4, min(len(data), 200))
    return data[:place] + number.to_bytes(width, "big" if rng.random() < 0.5 else "little") + data[place + width :]


def spliced(data: bytes, rng: np.random.Generator) -> bytes:
    """Replace the end of a file with that of another file, of any format."""
    other = _any_intact_file(rng)
    return data[: rng.integers(1, len(data))] + other[rng.integers(len(other)) :]


def with_another_header(data: bytes, rng: np.random.Generator) -> bytes:
    length = rng.integers(2, HEADER_BYTES)
    return _any_intact_file(rng)[:length] + data[length:]


DAMAGES: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    with_flipped_bits,
    cut_off,
    with_a_gap,
    with_an_insertion,
    with_a_duplicate,
    with_another_length,
    spliced,
    with_another_header,
)


def damaged_files(kind: str, count: int, seed: int = 0) -> Iterator[bytes]:
    """Make damaged files of a format: each kind of damage in turn, and about a quarter of the files damaged twice."""
    intact = intact_files(kind)
    rng = np.random.default_rng([seed, FORMATS.index(kind)])
    for number in range(count):
        data = DAMAGES[number % len(DAMAGES)](intact[rng.integers(len(intact))], rng)
        if len(data) > HEADER_BYTES and rng.random() < 0.25:
            data = DAMAGES[rng.integers(len(DAMAGES))](data, rng)
        yield with_right_checksums(data) if kind == "PNG" and rng.random() < 0.5 else data


def with_right_checksums(data: bytes) -> bytes:
    """Correct the checksums of a PNG; otherwise most damage would never reach the code behind their check."""
    mended, place = data[:8], 8
    while len(chunk := data[place:]) >= 12:
        end = 8 + int.from_bytes(chunk[:4], "big")
        mended += chunk[:end] + zlib.crc32(chunk[4:end]).to_bytes(4, "big")
        place += end + 4
    return mended


def _any_intact_file(rng: np.random.Generator) -> bytes:
    files = intact_files(FORMATS[rng.integers(len(FORMATS))])
    return files[rng.integers(len(files))]
