from __future__ import annotations

import random
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image

from app.imaging.decode import decode
from app.imaging.native import read_native
from tests import bombs
from tests.conftest import encoded

if TYPE_CHECKING:
    from training.data import Data

HEADER_BYTES = 33


def png(content: bytes) -> bytes:
    """Return a grey 28x28 PNG with the given compressed content, valid or not."""
    start = encoded(np.zeros((28, 28), np.uint8))[:HEADER_BYTES]
    return start + bombs.chunk(b"IDAT", content) + bombs.END


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Damage the rows of a PNG, its compressed content or the file as a whole, chosen at random."""
    file, content = bytearray(data), bytearray(data[HEADER_BYTES + 8 : -16])
    rows = bytearray(zlib.decompress(content))
    part = rng.choice((file, content, rows))
    for _ in range(rng.randint(1, 3)):
        part[rng.randrange(HEADER_BYTES if part is file else 0, len(part))] = rng.choice((rng.randrange(256), 3, 4, 5))
    if rng.random() < 0.2:
        part += rng.randbytes(3)
    return bytes(file) if part is file else png(zlib.compress(rows) if part is rows else bytes(content))


def test_a_native_picture_is_read_however_it_was_written(data: Data) -> None:
    for image in data.test.images:
        files = [encoded(image), encoded(image, compress_level=0), cv2.imencode(".png", image)[1].tobytes()]
        for file in files:
            pixels = read_native(file)
            assert pixels is not None
            assert pixels.dtype == np.uint8
            assert np.array_equal(pixels, image)


def test_what_is_read_from_a_damaged_file_is_what_pillow_reads(data: Data, capfd: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(0)
    files = [encoded(image) for image in data.test.images]
    read = 0
    for _ in range(2000):
        file = damaged(rng.choice(files), rng)
        pixels = read_native(file)
        if pixels is not None:
            read += 1
            assert np.array_equal(pixels, np.asarray(decode(file, "image/png", 10**4).pixels))
    assert 1000 > read > 500
    assert capfd.readouterr().err == ""  # where libpng would write its warnings


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encoded(np.zeros((28, 29), np.uint8)),
        encoded(np.zeros((28, 28, 3), np.uint8)),
        encoded(Image.new("1", (28, 28))),
        encoded(Image.new("P", (28, 28))),
        encoded(np.zeros((28, 28), np.uint8), transparency=0),
        encoded(np.zeros((28, 28), np.uint8), dpi=(72, 72)),
        encoded(np.zeros((28, 28), np.uint8)) + b"more",
        encoded(np.zeros((28, 28), np.uint8))[:-1],
    ],
)
def test_any_other_file_is_left_to_pillow(data: bytes) -> None:
    assert read_native(data) is None
