"""Endless pictures of garments on backgrounds, each with a mask of its garment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from app.imaging.segmentation import SIDE, tidy
from training.config import Distortion
from training.pictures.distortion import expose, relight, viewpoint
from training.segmenter.lessons import LESSON_PIXELS, Lessons

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPOSED_SHARE, DRAWN_SHARE, EMPTY_SHARE = 0.4, 0.2, 0.04
"""Shares of the scenes that are a garment of one photograph on the background of another, a garment of Fashion-MNIST in
colour on any background, and a background without a garment; the others are distorted photographs."""

STRENGTHS = Distortion(
    rotation_degrees=12,
    zoom=0.22,
    stretch=0.15,
    shear=0.1,
    perspective=0.1,
    shift=0.08,
    tint=0.1,
    uneven_light=0.12,
    blur_pixels=1,
)
"""How much a scene may differ from the lesson that it is made from."""

TO_SIDE = np.array([[SIDE / LESSON_PIXELS, 0, -0.25], [0, SIDE / LESSON_PIXELS, -0.25], [0, 0, 1]])
"""Projection from a lesson's pixels to a scene's; the offset is due to centres that lie half a pixel in."""

LEAST_STRIP = 14
"""Least width, in a lesson's pixels, of a strip beside the garment that shows what the background is like."""

RIM = 0.05
"""Share of white up to which a pixel of a Fashion-MNIST image is background."""

Scene = tuple["NDArray[np.uint8]", "NDArray[np.float32]"]
"""uint8 `[96, 96, 3]` and float32 `[96, 96]`, the share of each pixel that is garment."""


@dataclass(frozen=True, slots=True)
class Studio:
    """Draws scenes.

    Attributes:
        lessons: Photographs with their garments.
        images: uint8 `[n, 28, 28]`, of Fashion-MNIST.
    """

    lessons: Lessons
    images: NDArray[np.uint8]

    def scene(self, rng: np.random.Generator) -> Scene:
        """Draw a scene of a random kind."""
        kind = rng.random()
        if kind < COMPOSED_SHARE:
            light, garment = self._composed(rng)
        elif kind < COMPOSED_SHARE + DRAWN_SHARE:
            light, garment = self._drawn(rng)
        elif kind < COMPOSED_SHARE + DRAWN_SHARE + EMPTY_SHARE:
            light, garment = self._any_ground(rng), np.zeros((SIDE, SIDE), np.float32)
        else:
            light, garment = self._photographed(rng, cv2.BORDER_REFLECT_101)
        colours = expose(light, STRENGTHS, rng)
        if rng.random() < 0.1:  # noqa: PLR2004  a grey photograph now and then
            colours = np.repeat(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
        return (colours[:, ::-1], garment[:, ::-1]) if rng.random() < 0.5 else (colours, garment)  # noqa: PLR2004  a coin

    def _photographed(self, rng: np.random.Generator, beyond: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Distort a photograph; `beyond` is OpenCV's border mode for its garment beyond the edge."""
        chosen = rng.integers(len(self.lessons.colours))
        projection = TO_SIDE @ viewpoint(LESSON_PIXELS, LESSON_PIXELS, STRENGTHS, rng)
        garment = cv2.warpPerspective(self.lessons.garments[chosen], projection, (SIDE, SIDE), borderMode=beyond)
        return _seen(self.lessons.colours[chosen], projection, rng), garment / np.float32(255)

    def _composed(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Lay the garment of one photograph on the background of another."""
        cloth, garment = self._photographed(rng, cv2.BORDER_CONSTANT)
        garment = np.clip((garment - 0.5) * rng.uniform(1.5, 4) + 0.5, 0, 1)
        return _laid(_recoloured(cloth, rng), garment, self._ground(rng), rng), garment

    def _drawn(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Colour an image of Fashion-MNIST and lay it on a background."""
        image = self.images[rng.integers(len(self.images))] / np.float32(255)
        solid = tidy(image > RIM).astype(np.float32)
        size = rng.uniform(0.6, 1) * SIDE * np.exp(rng.uniform(-0.15, 0.15, 2)) / len(image)
        corner = (SIDE - len(image) * size) * rng.uniform(0.2, 0.8, 2)
        placed = np.array([[size[0], 0, corner[0]], [0, size[1], corner[1]]])
        weave = cv2.warpAffine(image, placed, (SIDE, SIDE), flags=cv2.INTER_CUBIC)
        shape = cv2.warpAffine(solid, placed, (SIDE, SIDE), flags=cv2.INTER_CUBIC)
        garment = np.clip((cv2.GaussianBlur(shape, (0, 0), 1) - 0.5) * 4 + 0.5, 0, 1)
        dark, light = rng.uniform(0, 0.6, 3), rng.uniform(0.25, 1, 3)
        if rng.random() < 0.3:  # noqa: PLR2004  light where the image is
            dark, light = light, dark
        cloth = light + np.clip(weave, 0, 1)[..., None] * (dark - light) + rng.uniform(0, 0.1) * _grain(rng)[..., None]
        return _laid(cloth.astype(np.float32), garment, self._any_ground(rng), rng), garment

    def _any_ground(self, rng: np.random.Generator) -> NDArray[np.float32]:
        return self._ground(rng) if rng.random() < 0.5 else _plain_ground(rng)  # noqa: PLR2004  a coin

    def _ground(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Mirror the widest strip beside a garment until it fills the scene; without one, draw a plain background."""
        chosen = rng.integers(len(self.lessons.colours))
        colours = self.lessons.colours[chosen]
        near = cv2.dilate((self.lessons.garments[chosen] > 40).astype(np.uint8), np.ones((7, 7), np.uint8))  # noqa: PLR2004  faint
        rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
        widths = rows[0], LESSON_PIXELS - 1 - rows[-1], columns[0], LESSON_PIXELS - 1 - columns[-1]
        widest = int(np.argmax(widths))
        if widths[widest] < LEAST_STRIP:
            return _plain_ground(rng)
        if widest >= 2:  # noqa: PLR2004  left or right
            colours = colours.transpose(1, 0, 2)
        strip = colours[: widths[widest]] if widest % 2 == 0 else colours[-widths[widest] :]
        filled = np.pad(strip, ((0, LESSON_PIXELS - len(strip)), (0, 0), (0, 0)), mode="symmetric")
        if rng.random() < 0.5:  # noqa: PLR2004  a coin
            filled = filled.transpose(1, 0, 2)
        projection = TO_SIDE @ viewpoint(LESSON_PIXELS, LESSON_PIXELS, STRENGTHS, rng)
        return _recoloured(_seen(np.ascontiguousarray(filled), projection, rng), rng)


def _seen(colours: NDArray[np.uint8], projection: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Project a lesson and change its light, float32 `[96, 96, 3]`."""
    moved = cv2.warpPerspective(colours, projection, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101)
    return relight(moved / np.float32(255), STRENGTHS, rng)


def _recoloured(light: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Permute red, green and blue now and then."""
    return light[..., rng.permutation(3)] if rng.random() < 0.3 else light  # noqa: PLR2004


def _laid(
    cloth: NDArray[np.float32], garment: NDArray[np.float32], ground: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Lay a garment on a background, usually with a shadow."""
    if rng.random() < 0.6:  # noqa: PLR2004  lamps differ
        shadow = cv2.GaussianBlur(np.roll(garment, rng.integers(-4, 5, 2), (0, 1)), (0, 0), rng.uniform(0.7, 3))
        ground = ground * (1 - rng.uniform(0.1, 0.6) * shadow[..., None])
    return ground + garment[..., None] * (cloth - ground)


def _plain_ground(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a background of one colour, half of the time with a grain, float32 `[96, 96, 3]`."""
    grain = max(0.0, rng.uniform(-0.15, 0.15)) * _grain(rng)[..., None] * rng.uniform(0.5, 1, 3)
    return np.asarray(np.clip(rng.uniform(-0.3, 1.3, 3), 0, 1) + grain, np.float32)  # white and black are frequent


def _grain(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw noise at several scales, float32 `[96, 96]`, around 0."""
    grain = np.zeros((SIDE, SIDE), np.float32)
    for side in (4, 12, 32, 96):
        grain += rng.uniform(0, 1) * cv2.resize(rng.standard_normal((side, side), dtype=np.float32), (SIDE, SIDE))
    return grain
