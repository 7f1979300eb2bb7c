"""Distorts photographs in the ways in which photographs of the same thing differ."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.config import Distortion


def distort(colours: NDArray[np.uint8], strengths: Distortion, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change the camera's viewpoint, the light and the lens a little.

    Args:
        colours: uint8 `[height, width, 3]`.
        strengths: Limits of each change.
        rng: Draws the changes.

    Returns:
        A new picture of the same size. Where the camera would see beyond the old picture, the old one is mirrored.
    """
    height, width = colours.shape[:2]
    return distort_with(viewpoint(height, width, strengths, rng), colours, strengths, rng)


def distort_with(
    projection: NDArray[np.float64], colours: NDArray[np.uint8], strengths: Distortion, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Distort from a given viewpoint, float64 `[3, 3]`; the light and the lens are drawn as in `distort`."""
    height, width = colours.shape[:2]
    moved = cv2.warpPerspective(colours, projection, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return expose(relight(moved / np.float32(255), strengths, rng), strengths, rng)


def viewpoint(height: int, width: int, strengths: Distortion, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a projection about a picture's middle, float64 `[3, 3]`: rotation, zoom, stretch, shear, tilt and shift."""
    turn = math.radians(float(np.clip(rng.normal(0, strengths.rotation_degrees), -30, 30)))
    zoom, stretch = np.exp(rng.uniform(-1, 1, 2) * (strengths.zoom, strengths.stretch))
    turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    sheared = np.array([[1, rng.uniform(-1, 1) * strengths.shear], [0, 1]])
    size = np.array([width, height])
    projection = np.eye(3)
    projection[:2, :2] = turned @ np.diag([zoom * stretch, zoom / stretch]) @ sheared
    projection[2, :2] = rng.uniform(-1, 1, 2) * strengths.perspective / (size / 2)
    projection[:2, 2] = rng.uniform(-1, 1, 2) * strengths.shift * size
    to_middle, back = np.eye(3), np.eye(3)
    to_middle[:2, 2], back[:2, 2] = -size / 2, size / 2
    return np.asarray(back @ projection @ to_middle)


def relight(light: NDArray[np.float32], strengths: Distortion, rng: np.random.Generator) -> NDArray[np.float32]:
    """Change gamma, contrast, brightness, tint and evenness of light, float32 `[height, width, 3]`, at first 0 to 1."""
    height, width = light.shape[:2]
    light = light ** math.exp(rng.normal(0, strengths.gamma))
    light = (light - 0.5) * math.exp(rng.normal(0, strengths.contrast)) + 0.5 + rng.normal(0, strengths.brightness)
    light *= np.exp(rng.normal(0, strengths.tint, 3)).astype(np.float32)
    down, across = rng.normal(0, strengths.uneven_light, 2)
    slope = 1 + down * np.linspace(-1, 1, height)[:, None] + across * np.linspace(-1, 1, width)
    light *= slope[..., None].astype(np.float32)
    return light


def expose(light: NDArray[np.float32], strengths: Distortion, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur light, float32 `[height, width, 3]`, add noise and return it as uint8."""
    if (blur := rng.uniform(-1, 1) * strengths.blur_pixels) > 0:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), blur), np.float32)
    light = light + rng.uniform(0, strengths.noise) * rng.standard_normal(light.shape, dtype=np.float32)
    return np.rint(np.clip(light, 0, 1) * 255).astype(np.uint8)
