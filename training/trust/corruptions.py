"""Damages images in ten ways at five strengths, and measures accuracy, calibration and the share called unfamiliar.

The images are classified directly, without conversion.
"""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from app.model_card import IMAGE_SHAPE, DamageMetrics
from training.pictures.upload import encoded
from training.trust.evaluate import evaluate
from training.trust.familiarity import flagged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from app.classifier import Answers
    from training.data import Split

    Corrupt = Callable[[NDArray[np.uint8], float, np.random.Generator], NDArray[np.floating] | NDArray[np.uint8]]

MIDDLE = (IMAGE_SHAPE[0] - 1) / 2


def shot(image: NDArray[np.uint8], photons: float, rng: np.random.Generator) -> NDArray[np.floating]:
    """Simulate photon noise, with that many photons expected where the image is white."""
    return rng.poisson(image / 255 * photons) * (255 / photons)


def impulse(image: NDArray[np.uint8], share: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turn a share of the pixels black or white."""
    chosen = rng.random(image.shape) < share
    return np.where(chosen, 255 * rng.integers(0, 2, image.shape, np.uint8), image)


def blur(image: NDArray[np.uint8], deviation: float, _: np.random.Generator) -> NDArray[np.uint8]:
    """Blur with a Gaussian of that standard deviation, in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), deviation), np.uint8)


def motion(image: NDArray[np.uint8], length: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur along a line of that many pixels, in a random direction."""
    reach = math.ceil((length - 1) / 2)
    side = 2 * reach + 1  # odd, so that the kernel's middle is a pixel and the image stays where it is
    line = np.zeros((side, side), np.float32)
    # A line of four pixels covers three whole pixels and half of one at either end.
    line[reach] = np.clip((length + 1) / 2 - np.abs(np.arange(side) - reach), 0, 1)
    turn = cv2.getRotationMatrix2D((reach, reach), rng.uniform(0, 180), 1)
    kernel = cv2.warpAffine(line, turn, (side, side))
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def brightness(image: NDArray[np.uint8], share: float, _: np.random.Generator) -> NDArray[np.floating]:
    """Add a share of white everywhere."""
    return image + 255 * share


def contrast(image: NDArray[np.uint8], share: float, _: np.random.Generator) -> NDArray[np.floating]:
    """Keep a share of each pixel's distance from the mean."""
    return np.asarray(image.mean() + share * (image - image.mean()))


def scale(image: NDArray[np.uint8], share: float, _: np.random.Generator) -> NDArray[np.uint8]:
    """Shrink about the middle."""
    return _warp(image, cv2.getRotationMatrix2D((MIDDLE, MIDDLE), 0, share))


def rotation(image: NDArray[np.uint8], degrees: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Rotate about the middle, to a random side."""
    return _warp(image, cv2.getRotationMatrix2D((MIDDLE, MIDDLE), rng.choice((-1, 1)) * degrees, 1))


def shear(image: NDArray[np.uint8], share: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Shift the top to one side and the bottom to the other."""
    share *= rng.choice((-1, 1))
    return _warp(image, np.array([[1, share, -share * MIDDLE], [0, 1, 0]]))


def jpeg(image: NDArray[np.uint8], quality: float, _: np.random.Generator) -> NDArray[np.uint8]:
    """Encode as JPEG of that quality, and decode again."""
    return np.asarray(Image.open(io.BytesIO(encoded(Image.fromarray(image), "JPEG", quality=round(quality)))))


CORRUPTIONS: dict[str, tuple[Corrupt, tuple[float, ...]]] = {
    "shot noise, photons": (shot, (60, 25, 12, 5, 3)),
    "impulse noise, share": (impulse, (0.03, 0.06, 0.09, 0.17, 0.27)),
    "blur, pixels": (blur, (0.4, 0.6, 0.8, 1.2, 1.6)),
    "motion, pixels": (motion, (3, 4, 5, 7, 9)),
    "brightness, share": (brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast, share left": (contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "scale": (scale, (0.95, 0.9, 0.8, 0.7, 0.6)),
    "rotation, degrees": (rotation, (5, 10, 15, 22, 30)),
    "shear": (shear, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "JPEG, quality": (jpeg, (75, 50, 25, 15, 8)),
}
"""Each kind of damage with its strengths, weakest first; each function takes one image, uint8 `[28, 28]`.

Source:
    The kinds of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations" (arXiv 1903.12261), at strengths for 28x28 images.
"""


def measure_corruption(
    classify: Callable[[NDArray[np.uint8]], Answers], split: Split, kind: str, seed: int = 0
) -> tuple[DamageMetrics, ...]:
    """Measure a model on the images of a split, damaged in one way, at each strength.

    Args:
        classify: Takes uint8 `[n, 28, 28]`.
        split: What to measure on.
        kind: One of `CORRUPTIONS`.
        seed: Decides how each image is damaged.
    """
    corrupt, strengths = CORRUPTIONS[kind]
    return tuple(measure(classify, damage(split, corrupt, strength, seed), strength) for strength in strengths)


def measure(classify: Callable[[NDArray[np.uint8]], Answers], split: Split, strength: float = 0) -> DamageMetrics:
    """Measure a model on a split whose images were damaged at that strength; 0 means undamaged."""
    evaluation = evaluate(classify, split)
    return DamageMetrics(
        strength=strength,
        accuracy=evaluation.metrics.accuracy,
        ece_equal_mass=evaluation.metrics.ece_equal_mass,
        flagged=flagged(evaluation.answers),
    )


def header(*first: str) -> tuple[str, ...]:
    """Return the header of a table of damage, which begins with the given columns."""
    return (*first, "undamaged", *(f"strength {number}" for number in range(1, 6)))


def label(kind: str, damaged: Sequence[DamageMetrics]) -> str:
    """Name a kind of damage with its strengths."""
    return f"{kind} {', '.join(f'{one.strength:g}' for one in damaged)}"


def cell(metrics: DamageMetrics) -> str:
    """Format accuracy, expected calibration error and, where it was measured, the share called unfamiliar."""
    unfamiliar = "" if metrics.flagged is None else f", {metrics.flagged:.0%}"
    return f"{metrics.accuracy:.1%}, {metrics.ece_equal_mass:.3f}{unfamiliar}"


def damage(split: Split, corrupt: Corrupt, strength: float, seed: int) -> Split:
    """Return the split with every image damaged; the same seed gives the same damage."""
    rng = np.random.default_rng(seed)
    images = np.stack([np.clip(np.rint(corrupt(image, strength, rng)), 0, 255) for image in split.images])
    return replace(split, images=images.astype(np.uint8))


def _warp(image: NDArray[np.uint8], matrix: NDArray[np.integer | np.floating]) -> NDArray[np.uint8]:
    return np.asarray(cv2.warpAffine(image, matrix, IMAGE_SHAPE), np.uint8)
