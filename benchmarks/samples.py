"""Makes the sample pictures of the page at `/`: `python -m benchmarks.samples`.

Three are from the first test images of Fashion-MNIST, which the tests keep; three are drawn.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FOLDER = Path("app/web/samples")
IMAGES = Path("tests/fixtures/fashion_mnist_sample.npz")
BOOT, JACKET, SANDAL = 28, 77, 78
"""Indices of the three among these test images."""

SIZE = WIDTH, HEIGHT = 600, 760
"""Size of the drawings, which are drawn twice as large, since Pillow does not smooth edges."""
DRAWN = WIDTH * 2, HEIGHT * 2

Colour = tuple[int, int, int]
Point = tuple[float, float]

WOOD: Colour = (196, 160, 118)
PAPER: Colour = (238, 240, 236)
PLASTER: Colour = (238, 222, 208)
LINEN: Colour = (232, 225, 214)
NAVY: Colour = (38, 52, 84)
CREAM: Colour = (243, 234, 216)
RUST: Colour = (168, 72, 42)
GREEN: Colour = (52, 94, 70)
COFFEE: Colour = (70, 40, 24)


def samples() -> dict[str, bytes]:
    """Return the files by name, byte for byte the same with the same versions of Pillow and NumPy."""
    with np.load(IMAGES) as data:
        boot, jacket, sandal = (Image.fromarray(data["test_images"][place]) for place in (BOOT, JACKET, SANDAL))
    return {
        "boot.png": _encoded(boot, "PNG"),
        "jacket.png": _encoded(jacket, "PNG"),
        "sandal.jpg": _encoded(enlarged(sandal, RUST, LINEN), "JPEG"),
        "sweater.jpg": _encoded(sweater(), "JPEG"),
        "bag.jpg": _encoded(bag(), "JPEG"),
        "cup.jpg": _encoded(cup(), "JPEG"),
    }


def enlarged(image: Image.Image, garment: Colour, ground: Colour) -> Image.Image:
    """Turn an image of the data set into a catalogue picture, 24 times as large."""
    scale, margin = 24, 40
    mask = image.resize((image.width * scale, image.height * scale), Image.Resampling.LANCZOS)
    width = mask.width + 2 * margin
    height = width * 5 // 4
    picture = Image.new("RGB", (width, height), ground)
    picture.paste(garment, (margin, (height - mask.height) // 2), mask)
    return picture


def sweater() -> Image.Image:
    """Draw a striped sweater on a wooden floor."""
    half = [(0, 62), (104, 28), (150, 18), (300, 76), (352, 150), (424, 560), (472, 960)]
    half += [
        (468, 996),
        (366, 1022),
        (352, 990),
        (306, 640),
        (286, 480),
        (288, 700),
        (296, 990),
        (290, 1046),
        (0, 1056),
    ]
    garment = _mask(_smooth(_mirrored(half, (600, 250))))
    cloth = Image.new("RGB", DRAWN, NAVY)
    stripes = ImageDraw.Draw(cloth)
    for top in range(520, 1200, 110):
        stripes.line([(x, top + 26 - 26 * ((x - 600) / 420) ** 2) for x in range(100, 1101, 20)], CREAM, 22)
    picture = _laid(_floor(), garment, cloth)
    collar = _mask(_smooth(_mirrored([(0, 80), (96, 52), (116, 22), (60, 14), (0, 16)], (600, 250))))
    return _finished(_laid(picture, collar, Image.new("RGB", DRAWN, _darker(NAVY, 0.8)), shadow=0.12))


def bag() -> Image.Image:
    """Draw a leather bag as a catalogue shows it, on plain paper and without a shadow."""
    picture = Image.new("RGB", DRAWN, PAPER)
    handle = Image.new("L", DRAWN)
    ImageDraw.Draw(handle).arc((300, 220, 900, 1060), 180, 360, 255, 36)
    picture = _laid(picture, handle, Image.new("RGB", DRAWN, _darker(RUST, 0.8)), shadow=0)
    half = [(0, 0), (270, 0), (300, 24), (352, 500), (330, 540), (0, 548)]
    body = _mask(_smooth(_mirrored(half, (600, 640)), 2))
    picture = _laid(picture, body, Image.new("RGB", DRAWN, RUST), shadow=0)
    flap = _mask(_smooth(_mirrored([(0, 0), (270, 0), (302, 24), (312, 190), (190, 262), (0, 276)], (600, 640)), 2))
    picture = _laid(picture, flap, Image.new("RGB", DRAWN, _darker(RUST, 0.9)), shadow=0.3)
    ImageDraw.Draw(picture).rounded_rectangle((566, 880, 634, 950), 12, (214, 178, 104))
    return _finished(picture)


def cup() -> Image.Image:
    """Draw something that is not a garment: a cup of coffee."""
    light = _shaken(Image.new("RGB", DRAWN, PLASTER), _noise((3, 4), 16, seed=5))
    picture = _shaken(light, _noise(SIZE, 4, seed=5))
    handle = Image.new("L", DRAWN)
    ImageDraw.Draw(handle).ellipse((710, 620, 1020, 950), outline=255, width=56)
    picture = _laid(picture, handle, Image.new("RGB", DRAWN, _darker(GREEN, 0.85)))
    body = _mask(_smooth(_mirrored([(0, 0), (310, 0), (285, 360), (190, 560), (0, 560)], (560, 500)), 2))
    picture = _laid(picture, body, Image.new("RGB", DRAWN, GREEN))
    coffee = Image.new("L", DRAWN)
    ImageDraw.Draw(coffee).ellipse((260, 445, 860, 565), 255)
    return _finished(_laid(picture, coffee, Image.new("RGB", DRAWN, COFFEE), shadow=0))


def _mirrored(half: Sequence[Point], centre: Point) -> list[Point]:
    """Mirror the right half of an outline, which starts and ends on the vertical axis, and place it at a centre."""
    x, y = centre
    return [(x + dx, y + dy) for dx, dy in half] + [(x - dx, y + dy) for dx, dy in reversed(half)]


def _smooth(outline: Sequence[Point], times: int = 3) -> list[Point]:
    """Round the corners of a closed outline by cutting them repeatedly (Chaikin)."""
    points = np.array(outline, float)
    for _ in range(times):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.85 * points + 0.15 * after, 0.15 * points + 0.85 * after], axis=1).reshape(-1, 2)
    return [(float(x), float(y)) for x, y in points]


def _mask(outline: Iterable[Point]) -> Image.Image:
    mask = Image.new("L", DRAWN)
    ImageDraw.Draw(mask).polygon(list(outline), 255)
    return mask


def _laid(picture: Image.Image, mask: Image.Image, cloth: Image.Image, shadow: float = 0.4) -> Image.Image:
    """Lay cloth with soft folds and a shadow on a picture."""
    below = ImageChops.offset(mask, 14, 22).filter(ImageFilter.GaussianBlur(18)).point(lambda value: value * shadow)
    picture = Image.composite(Image.new("RGB", DRAWN, (30, 22, 16)), picture, below)
    folds = _noise((7, 9), 15, seed=1)
    rounded = mask.filter(ImageFilter.GaussianBlur(34)).point(lambda value: 90 + value * 0.65)  # darker at the edge
    shaded = ImageChops.multiply(_shaken(cloth, folds), Image.merge("RGB", [rounded] * 3))
    return Image.composite(shaded, picture, mask)


def _floor() -> Image.Image:
    """Draw planks with grain."""
    rng = np.random.default_rng(7)
    floor = Image.new("RGB", DRAWN, WOOD)
    draw = ImageDraw.Draw(floor)
    for left in range(0, DRAWN[0], 200):
        top = -int(rng.integers(100, 900))
        while top < DRAWN[1]:
            plank = (left, top, left + 200, top + 900)
            draw.rectangle(plank, _darker(WOOD, rng.uniform(0.9, 1.04)), _darker(WOOD, 0.62), 3)
            top += 900
    grain = _noise((220, 7), 15, 11)
    return _shaken(_shaken(floor, grain), _noise((3, 4), 12, 2))


def _noise(cells: tuple[int, int], strength: float, seed: int) -> Image.Image:
    """Return smooth noise around 128, with that many cells across and down."""
    values = np.random.default_rng(seed).normal(128, strength, cells[::-1]).clip(0, 255).astype(np.uint8)
    return Image.fromarray(values).resize(DRAWN, Image.Resampling.BICUBIC)


def _shaken(picture: Image.Image, noise: Image.Image) -> Image.Image:
    """Add the same noise to every channel."""
    return ImageChops.add(picture, Image.merge("RGB", [noise] * 3), offset=-128)


def _darker(colour: Colour, share: float) -> Colour:
    red, green, blue = (min(255, round(value * share)) for value in colour)
    return red, green, blue


def _finished(picture: Image.Image) -> Image.Image:
    return ImageOps.fit(picture, SIZE, Image.Resampling.LANCZOS)


def _encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=80, optimize=True)
    return buffer.getvalue()


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m benchmarks.samples", description=__doc__).parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in samples().items():
        (FOLDER / name).write_bytes(content)
        print(f"{FOLDER / name}: {len(content)} bytes")
