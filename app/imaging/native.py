"""Reads a picture that is already what the model takes, in half the time that Pillow needs for it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

from app.model_card import IMAGE_SHAPE

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


_HEIGHT, _WIDTH = IMAGE_SHAPE
_GREY_8_BIT = b"\x08\0\0\0\0"  # bits, colour, compression, filtering, interlacing
_START = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", _WIDTH.to_bytes(4) + _HEIGHT.to_bytes(4) + _GREY_8_BIT)
_END = _chunk(b"IEND", b"")
_PIXELS_START = len(_START) + len(_chunk(b"IDAT", b"")) - 4
_ROW_BYTES = 1 + _WIDTH
_LAST_FILTER = 4


def read_native(data: bytes) -> NDArray[np.uint8] | None:
    """Return the pixels of a PNG that holds a grey 28x28 image of 8 bits and nothing else.

    Args:
        data: At most a few thousand bytes, since what they unpack to is not bounded otherwise.

    Returns:
        uint8 `[28, 28]`; None for any other file, damaged ones included, which `decode` reads or refuses.

    Source:
        W3C PNG, sections 5.3, 9.2 and 11.2.
    """
    packed = data[_PIXELS_START : -len(_END) - 4]
    if not (data.startswith(_START) and data.endswith(_chunk(b"IDAT", packed) + _END)):
        return None
    try:
        rows = zlib.decompress(packed)
    except zlib.error:
        return None
    if len(rows) != _HEIGHT * _ROW_BYTES or max(rows[::_ROW_BYTES]) > _LAST_FILTER:
        return None
    # Only what is whole comes here: libpng writes to standard error what it does not like.
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # type: ignore[return-value]
