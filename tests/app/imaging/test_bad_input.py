from __future__ import annotations

import re
import time
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.errors import ImageTooLargeError, InvalidImageError, UnsupportedMediaTypeError
from app.imaging.conversion import Mode, convert
from app.imaging.decode import FORMATS, decode
from tests.conftest import encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi.testclient import TestClient
    from numpy.typing import NDArray

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as `decode` does where it serves

MAX_IMAGE_PIXELS = 10**6
SLOW_SECONDS = 3
FILES_OF_EACH_FORMAT = 400
SENT_OF_EACH_FORMAT = 35

OUTCOMES = {"answered", "invalid_image", "image_too_large", "unsupported_media_type"}

EXIF_FORMATS = {"PNG", "JPEG", "WEBP", "TIFF"}
SIDEWAYS = range(5, 9)
UPRIGHT, LEFT = 1, 6


# --- every picture that Pillow can write --------------------------------------------------------------------------


def fits_the_model(image: NDArray[np.uint8]) -> bool:
    return image.shape == (28, 28) and image.dtype == np.uint8


def picture(mode: str, size: tuple[int, int], seed: int = 0) -> Image.Image:
    width, height = size
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    return Image.fromarray(noise).convert(mode)


def written(mode: str, kind: str, size: tuple[int, int], orientation: int = UPRIGHT, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    exif[0x0112] = orientation
    return encoded(picture(mode, size), kind, exif=exif, **options)


def can_be_written(mode: str, kind: str) -> bool:
    try:
        written(mode, kind, (2, 2))
    except (OSError, ValueError):
        return False
    return True


SIZES = st.one_of(
    st.tuples(st.integers(1, 64), st.integers(1, 64)),
    st.tuples(st.integers(1, 5000), st.integers(1, 10)),
    st.tuples(st.integers(1, 10), st.integers(1, 5000)),
)


@pytest.mark.parametrize(
    ("mode", "kind"), [(mode, kind) for mode in Image.MODES for kind in FORMATS if can_be_written(mode, kind)]
)
@settings(derandomize=True, deadline=None, max_examples=8, database=None)
@given(size=SIZES, orientation=st.integers(1, 8), conversion=st.sampled_from(Mode))
def test_every_picture_becomes_an_image_for_the_model(
    mode: str, kind: str, size: tuple[int, int], orientation: int, conversion: Mode
) -> None:
    decoded = decode(written(mode, kind, size, orientation), "image/png", MAX_IMAGE_PIXELS)
    is_sideways = kind in EXIF_FORMATS and orientation in SIDEWAYS
    assert (decoded.format, decoded.width, decoded.height) == (kind, *size)
    assert decoded.pixels.mode in {"L", "RGB"}
    upright = size[::-1] if is_sideways else size
    assert decoded.pixels.size == tuple(-(-side // decoded.reduction) for side in upright)
    assert fits_the_model(convert(decoded.pixels, conversion).image)


# --- damaged files ------------------------------------------------------------------------------------------------


def intact_files(kind: str) -> list[bytes]:
    """Return small files that between them use what a format can do."""
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
    return [written(mode, kind, size, LEFT, **options) for mode, options in variants[kind]]


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
    """Overwrite two or four bytes near the start, where the lengths and sizes stand, with a number that matters."""
    number = int(rng.choice([0, 1, 2, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
    width = 2 if number <= 0xFFFF and rng.random() < 0.5 else 4
    place = rng.integers(4, min(len(data), 200))
    return data[:place] + number.to_bytes(width, "big" if rng.random() < 0.5 else "little") + data[place + width :]


DAMAGES: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    with_flipped_bits,
    cut_off,
    with_a_gap,
    with_an_insertion,
    with_a_duplicate,
    with_another_length,
)


def with_right_checksums(data: bytes) -> bytes:
    """Mend the checksums of a PNG, which would otherwise hide most damages from the code behind them."""
    mended, place = data[:8], 8
    while len(chunk := data[place:]) >= 12:
        end = 8 + int.from_bytes(chunk[:4], "big")
        mended += chunk[:end] + zlib.crc32(chunk[4:end]).to_bytes(4, "big")
        place += end + 4
    return mended


def damaged_files(kind: str, count: int) -> Iterator[bytes]:
    intact = intact_files(kind)
    rng = np.random.default_rng(FORMATS.index(kind))
    for number in range(count):
        damage = DAMAGES[number % len(DAMAGES)]
        data = damage(intact[rng.integers(len(intact))], rng)
        yield with_right_checksums(data) if kind == "PNG" and rng.random() < 0.5 else data


def outcome(data: bytes) -> str:
    """Return `answered` or the code of the refusal; a refusal of another kind is raised, an unclear one told whole."""
    try:
        decoded = decode(data, "image/png", MAX_IMAGE_PIXELS)
    except (InvalidImageError, ImageTooLargeError, UnsupportedMediaTypeError) as error:
        return error.code if re.match(r"Expected .+, received .+\.", error.detail) else error.detail
    assert fits_the_model(convert(decoded.pixels, Mode.AUTO).image)
    return "answered"


@pytest.mark.parametrize("kind", FORMATS)
def test_every_intact_file_is_answered(kind: str) -> None:
    assert {outcome(data) for data in intact_files(kind)} == {"answered"}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_file_is_answered_or_refused_as_documented_and_soon(kind: str) -> None:
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for data in damaged_files(kind, FILES_OF_EACH_FORMAT):
        started = time.perf_counter()
        outcomes[outcome(data)] += 1
        slowest = max(slowest, time.perf_counter() - started)
    assert {"answered", "invalid_image"} <= outcomes.keys() <= OUTCOMES
    assert slowest < SLOW_SECONDS


def test_a_damaged_file_is_a_problem_and_never_a_failure_of_the_service(client: TestClient) -> None:
    statuses: Counter[int] = Counter()
    for kind in FORMATS:
        for data in damaged_files(kind, SENT_OF_EACH_FORMAT):
            response = client.post("/predict", content=data)
            assert response.status_code in {200, 413, 415, 422}
            if response.status_code != 200:
                assert response.headers["content-type"] == "application/problem+json"
                assert response.json()["detail"]
            statuses[response.status_code] += 1
    assert {200, 422} <= statuses.keys()
