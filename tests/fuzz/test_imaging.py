from __future__ import annotations

import re
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ImageTooLargeError, InvalidImageError, UnsupportedMediaTypeError
from app.imaging.conversion import Mode, convert
from app.imaging.decode import FORMATS, RAW_BYTES, RAW_MEDIA_TYPE, decode
from tests.fuzz.files import damaged_files, intact_files

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as the service does

MAX_IMAGE_PIXELS = 10**6
SLOW_SECONDS = 3
FILES_OF_EACH_FORMAT = 400

OUTCOMES = {"answered", "invalid_image", "image_too_large", "unsupported_media_type"}


def outcome(data: bytes, media_type: str = "image/png", mode: Mode = Mode.AUTO) -> str:
    """Return `answered`, or the refusal's code, or its detail if that is unclear; any other error is raised."""
    try:
        decoded = decode(data, media_type, MAX_IMAGE_PIXELS)
    except (InvalidImageError, ImageTooLargeError, UnsupportedMediaTypeError) as error:
        return error.code if re.match(r"Expected .+, received .+\.", error.detail) else error.detail
    image = convert(decoded.pixels, mode, decoded.opacity).image
    assert image.shape == (28, 28)
    assert image.dtype == np.uint8
    return "answered"


# --- damaged files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_every_intact_file_is_answered(kind: str) -> None:
    assert {outcome(data) for data in intact_files(kind)} == {"answered"}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_file_is_quickly_answered_or_refused_as_documented(kind: str) -> None:
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for data in damaged_files(kind, FILES_OF_EACH_FORMAT):
        started = time.thread_time()
        outcomes[outcome(data)] += 1
        slowest = max(slowest, time.thread_time() - started)
    assert {"answered", "invalid_image"} <= outcomes.keys() <= OUTCOMES
    assert slowest < SLOW_SECONDS


# --- files with edited pieces and matching lengths and checksums ----------------------------------------------------


class Edit(NamedTuple):
    """What to do with one piece of a file: drop, repeat, swap, replace, or (most often) set a number in it."""

    what: str
    place: int
    other: int
    data: bytes


NUMBERS = st.sampled_from(
    [0, 1, 2, 3, 4, 8, 28, 127, 128, 255, 256, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1]
)
SET_NUMBER = st.builds(
    lambda number, width, order: (number % 256**width).to_bytes(width, order),
    NUMBERS,
    st.sampled_from([1, 2, 4]),
    st.sampled_from(["big", "little"]),
)
EDITS = st.lists(
    st.builds(
        Edit,
        st.sampled_from(["set", "set", "set", "drop", "repeat", "swap", "fill"]),
        st.integers(0, 40),
        st.integers(0, 40),
        SET_NUMBER | st.binary(max_size=20) | st.integers(0, 3000).map(lambda count: zlib.compress(bytes(count))),
    ),
    min_size=1,
    max_size=4,
)


# A piece consists of its name, empty if it has none, and its bytes without length and checksum.
Pieces = Iterable[tuple[bytes, bytes]]


def edited(kind: str, data: bytes, edits: list[Edit]) -> bytes:
    take_apart, put_together = GRAMMARS[kind]
    pieces = list(take_apart(data))
    for what, place, other, new in edits:
        at, to = place % len(pieces), other % len(pieces)
        name, old = pieces[at]
        start = other % (len(old) + 1)
        if what == "drop" and len(pieces) > 1:
            del pieces[at]
        elif what == "repeat":
            pieces.insert(to, pieces[at])
        elif what == "swap":
            pieces[at], pieces[to] = pieces[to], pieces[at]
        else:
            pieces[at] = name, new if what == "fill" else old[:start] + new + old[start + len(new) :]
    return put_together(pieces)


def chunks_of_png(data: bytes) -> Pieces:
    place = 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4])
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += length + 12


def chunks_of_webp(data: bytes) -> Pieces:
    place = 12
    while place < len(data):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        yield data[place : place + 4], data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def segments_of_jpeg(data: bytes) -> Pieces:
    place = 2
    while data[place + 1] != 0xDA:  # followed by the picture itself
        length = int.from_bytes(data[place + 2 : place + 4])
        yield data[place : place + 2], data[place + 4 : place + 2 + length]
        place += 2 + length
    yield b"", data[place:]


def entries_of_tiff(data: bytes) -> Pieces:
    start = int.from_bytes(data[4:8], "little") + 2
    end = start + 12 * int.from_bytes(data[start - 2 : start], "little")
    yield b"", data[:start]
    yield from ((b"", data[place : place + 12]) for place in range(start, end, 12))
    yield b"", data[end:]


def words(data: bytes) -> Pieces:
    header = 62
    yield from ((b"", data[place : place + 2]) for place in range(0, header, 2))
    yield b"", data[header:]


def png(pieces: Pieces) -> bytes:
    chunks = (len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4) for name, data in pieces)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def webp(pieces: Pieces) -> bytes:
    body = b"".join(name + len(data).to_bytes(4, "little") + data + bytes(len(data) % 2) for name, data in pieces)
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body


def jpeg(pieces: Pieces) -> bytes:
    return b"\xff\xd8" + b"".join(name + (len(data) + 2).to_bytes(2) + data if name else data for name, data in pieces)


def in_a_row(pieces: Pieces) -> bytes:
    return b"".join(data for _, data in pieces)


GRAMMARS: dict[str, tuple[Callable[[bytes], Pieces], Callable[[Pieces], bytes]]] = {
    "PNG": (chunks_of_png, png),
    "JPEG": (segments_of_jpeg, jpeg),
    "WEBP": (chunks_of_webp, webp),
    "BMP": (words, in_a_row),
    "GIF": (words, in_a_row),
    "TIFF": (entries_of_tiff, in_a_row),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_taken_apart_and_put_together_again_is_the_same(kind: str) -> None:
    take_apart, put_together = GRAMMARS[kind]
    assert all(put_together(take_apart(data)) == data for data in intact_files(kind))


@pytest.mark.parametrize("kind", FORMATS)
@given(data=st.data(), edits=EDITS, mode=st.sampled_from(Mode))
def test_a_file_with_edited_pieces_is_answered_or_refused(
    kind: str, data: st.DataObject, edits: list[Edit], mode: Mode
) -> None:
    assert outcome(edited(kind, data.draw(st.sampled_from(intact_files(kind))), edits), mode=mode) in OUTCOMES


@given(
    data=st.binary(max_size=300) | st.binary(min_size=RAW_BYTES, max_size=RAW_BYTES),
    media_type=st.sampled_from(["", "image/png", RAW_MEDIA_TYPE]),
    mode=st.sampled_from(Mode),
)
def test_any_bytes_are_answered_or_refused(data: bytes, media_type: str, mode: Mode) -> None:
    assert outcome(data, media_type, mode) in OUTCOMES
