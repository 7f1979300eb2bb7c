"""Makes images that belong to no class of Fashion-MNIST, in families that differ in what is wrong with them."""

from __future__ import annotations

import string
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits

from app.model_card import IMAGE_SHAPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

OTHER_FONTS = ("DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral")
SIDE = IMAGE_SHAPE[0]
CHARACTERS = string.ascii_letters + string.digits


def upside_down(images: NDArray[np.uint8], _: np.random.Generator) -> NDArray[np.uint8]:
    """Rotate images by 180 degrees."""
    return images[:, ::-1, ::-1].copy()


def lying(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Rotate images by 90 degrees, to a random side."""
    return np.stack(
        [np.rot90(image, turns) for image, turns in zip(images, rng.choice((1, 3), len(images)), strict=True)]
    )


def shuffled(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cut images into 4 or 16 squares and rearrange them."""
    return np.stack([_shuffle(image, int(rng.choice((2, 4))), rng) for image in images])


def blended(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Lay two images over each other, the second upside down."""
    return np.maximum(images, images[rng.permutation(len(images))][:, ::-1])


def negated(images: NDArray[np.uint8], _: np.random.Generator) -> NDArray[np.uint8]:
    """Invert the brightness."""
    return 255 - images


def noise(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw every pixel independently, around a random grey and with a random spread per image."""
    shape = (len(images), 1, 1)
    drawn = rng.normal(rng.uniform(0, 255, shape), rng.uniform(5, 120, shape), images.shape)
    return np.clip(drawn, 0, 255).astype(np.uint8)


def textures(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw clouds, stripes and checks that fill the frame."""
    return np.stack([_texture(rng) for _ in images])


def shapes(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a few filled polygons and ellipses on black."""
    return np.stack([_shapes(rng) for _ in images])


def glyphs(images: NDArray[np.uint8], rng: np.random.Generator, font: Path | None = None) -> NDArray[np.uint8]:
    """Write a letter or digit on black, in the given TrueType font or in Pillow's own."""
    return np.stack([_glyph(CHARACTERS[rng.integers(len(CHARACTERS))], rng, font) for _ in images])


def letters_of_other_fonts(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Write characters in fonts that come with Matplotlib, which `glyphs` does not use by itself."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    parts = np.array_split(images, len(OTHER_FONTS))
    return np.concatenate(
        [glyphs(part, rng, folder / f"{font}.ttf") for font, part in zip(OTHER_FONTS, parts, strict=True)]
    )


def handwritten_digits() -> NDArray[np.uint8]:
    """Enlarge the 1,797 8x8 digits that come with scikit-learn.

    Source:
        Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits" (UCI Machine Learning Repository, 1998).
    """
    bright = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    return np.stack([cv2.resize(image, IMAGE_SHAPE, interpolation=cv2.INTER_CUBIC) for image in bright])


FAMILIES: dict[str, Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]] = {
    "upside down": upside_down,
    "lying": lying,
    "shuffled": shuffled,
    "blended": blended,
    "negated": negated,
    "noise": noise,
    "textures": textures,
    "shapes": shapes,
    "glyphs": glyphs,
}
"""Each makes as many images as it is given, uint8 `[n, 28, 28]`, from these or independently; all are taught."""

NEW_KINDS: dict[str, Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]] = {
    "letters and digits in other fonts": letters_of_other_fonts,
    "handwritten digits": lambda _, __: handwritten_digits(),
}
"""Kinds that are measured and never taught; handwritten digits helped to choose the score, though."""


def _shuffle(image: NDArray[np.uint8], pieces: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    side = SIDE // pieces
    squares = image.reshape(pieces, side, pieces, side).swapaxes(1, 2).reshape(-1, side, side)
    order = rng.permutation(len(squares))
    while (order == np.arange(len(order))).all():
        order = rng.permutation(len(squares))
    return squares[order].reshape(pieces, pieces, side, side).swapaxes(1, 2).reshape(SIDE, SIDE)


def _texture(rng: np.random.Generator) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(0.3, 2)
    along, across = (
        np.sin((columns * np.cos(turned) + rows * np.sin(turned)) * pitch) for turned in (angle, angle + np.pi / 2)
    )
    kind = rng.integers(3)
    if kind == 0:  # clouds: noise of several grain sizes
        grains = (3, 6, 12, SIDE)
        field = sum(rng.uniform() * cv2.resize(rng.standard_normal((grain, grain)), (SIDE, SIDE)) for grain in grains)
    else:
        field = along if kind == 1 else along * across
    low, high = np.sort(rng.uniform(0, 255, 2))
    grey: NDArray[np.uint8] = np.interp(field, (np.min(field), np.max(field)), (low, high)).astype(np.uint8)
    return grey


def _shapes(rng: np.random.Generator) -> NDArray[np.uint8]:
    canvas = np.zeros(IMAGE_SHAPE, np.uint8)
    for _ in range(rng.integers(1, 4)):
        grey = int(rng.integers(60, 256))
        if rng.random() < 0.5:  # noqa: PLR2004  a coin
            corners = rng.integers(0, SIDE, (rng.integers(3, 7), 1, 2), np.int32)
            cv2.fillPoly(canvas, [corners], grey)
        else:
            centre, axes = rng.integers(6, SIDE - 6, 2).tolist(), rng.integers(3, SIDE // 2, 2).tolist()
            cv2.ellipse(canvas, centre, axes, rng.uniform(0, 180), 0, 360, grey, cv2.FILLED)
    return canvas


def _glyph(character: str, rng: np.random.Generator, font: Path | None) -> NDArray[np.uint8]:
    size = int(rng.integers(18, 32))
    face = ImageFont.truetype(str(font), size) if font else ImageFont.load_default(size)
    image = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(image).text(
        *((SIDE / 2, SIDE / 2), character),
        fill=int(rng.integers(120, 256)),
        font=face,
        anchor="mm",
        stroke_width=int(rng.integers(0, 2)),
    )
    return np.asarray(image.rotate(rng.normal(0, 10), Image.Resampling.BILINEAR))
