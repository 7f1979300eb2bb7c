"""The pictures that are sent: native ones and photographs, all different, so that no cache can help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from training.data import DEBIAN_FOLDER, find_folder, keras_cache, load
from training.errors import DataError
from training.pictures.upload import encoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SAMPLE = Path(__file__).parents[2] / "tests" / "fixtures" / "fashion_mnist_sample.npz"
GARMENT_SHARE = 0.8
"""Share of a photograph's shorter side that the garment takes up."""

JPEG_QUALITY = 90


def native_images(count: int, known: Sequence[Path] | None = None) -> NDArray[np.uint8]:
    """Return images of Fashion-MNIST, uint8 `[count, 28, 28]`.

    They come from the test split if the data set is installed, else from the sample that the tests use; nothing is
    downloaded.

    Args:
        count: How many images.
        known: Folders to search; by default those of Debian's package and Keras' cache.
    """
    known = (DEBIAN_FOLDER, keras_cache()) if known is None else known
    try:
        return load(find_folder(known=known, download=lambda: None), seed=0).test.images[:count]
    except DataError:
        with np.load(SAMPLE) as sample:
            return np.concatenate([sample["test_images"], sample["train_images"]])[:count]


def png(image: NDArray[np.uint8]) -> bytes:
    """Encode a native image, uint8 `[28, 28]`, losslessly."""
    return encoded(Image.fromarray(image))


def photograph(image: NDArray[np.uint8], size: tuple[int, int], rng: np.random.Generator) -> bytes:
    """Lay a garment, coloured and enlarged, on a rough ground.

    Args:
        image: uint8 `[28, 28]`, garment bright on black.
        size: Width and height of the photograph in pixels.
        rng: Decides the colours and the ground.

    Returns:
        A JPEG.
    """
    width, height = size
    side = max(1, round(GARMENT_SHARE * min(size)))
    coarse = rng.normal(0, 40, (16, 16, 3)) + rng.uniform(60, 200, 3)
    canvas = _enlarged(coarse, size) + _enlarged(rng.normal(0, 25, (64, 64, 3)), size)
    share = _enlarged(np.repeat(image[..., None], 3, axis=2).astype(np.float64), (side, side)) / 255
    top, left = (height - side) // 2, (width - side) // 2
    ground = canvas[top : top + side, left : left + side]
    covered = np.clip(4 * share, 0, 1)  # darker parts of the garment hide the ground too
    ground += covered * (share * rng.uniform(60, 255, 3) - ground)
    return encoded(Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8)), "JPEG", quality=JPEG_QUALITY)


def _enlarged(colours: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """Scale float `[height, width, 3]` smoothly to a width and a height."""
    channels = [Image.fromarray(colours[..., channel].astype(np.float32)) for channel in range(3)]
    return np.stack([np.asarray(one.resize(size, Image.Resampling.BICUBIC)) for one in channels], axis=2)
