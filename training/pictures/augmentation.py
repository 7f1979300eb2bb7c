"""Turns the training split into an endless stream of augmented batches."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from training.config import TrainingConfig
    from training.pictures.mixture import Mixture


def batches(
    images: NDArray[np.uint8],
    targets: np.ndarray,
    config: TrainingConfig,
    first_epoch: int = 0,
    mixture: Mixture | None = None,
) -> Iterator[tuple[NDArray[np.uint8], np.ndarray]]:
    """Yield shuffled, augmented batches, epoch after epoch, without the last, incomplete batch of an epoch.

    Each epoch has its own random generator, so a run resumed at epoch `k` sees the same batches as an unbroken run.

    Args:
        images: uint8 `[n, 28, 28]`.
        targets: float32 `[n, 10]`, one row of class probabilities per image.
        config: Seed, batch size and strengths.
        first_epoch: Epoch to start with.
        mixture: Images to mix in where the config asks for them, and teachers' targets, which replace `targets`. An
            epoch is still one pass over `images`.

    Yields:
        uint8 `[batch_size, 28, 28]` and float32 `[batch_size, 10]`.
    """
    # As in airbench, each image is mirrored in every second epoch; one draw decides which half starts mirrored.
    mirrored_first = np.random.default_rng(config.seed).random(len(images)) < 0.5  # noqa: PLR2004  a coin
    count = config.images_a_batch
    targets = mixture.teaching.targets if mixture and mixture.teaching else targets
    epoch = first_epoch
    while True:
        if epoch >= config.uncut_from:
            config = replace(config, cutout_pixels=0)
        rng = np.random.default_rng([config.seed, epoch])
        order = rng.permutation(len(images))
        for start in range(0, len(images) - count + 1, count):
            chosen = order[start : start + count]
            batch, batch_targets = images[chosen], targets[chosen]
            mirror = mirrored_first[chosen] ^ bool(epoch % 2)
            if mixture and config.photos:
                batch = mixture.disguise(batch, chosen, config.photos.disguised_share, rng)
            if mixture:
                drawn = [(batch, batch_targets), *mixture.draw(config, rng)]
                batch, batch_targets = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
                mirror = np.concatenate([mirror, rng.random(len(batch) - count) < 0.5])  # noqa: PLR2004  a coin
            batch = augment(batch, mirror & config.flip, config, rng)
            if config.degraded_share:
                batch[:count] = degrade(batch[:count], config.degraded_share, rng)
            yield batch, batch_targets
        epoch += 1


def augment(
    images: NDArray[np.uint8], mirror: np.ndarray, config: TrainingConfig, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Mirror, shift and cut out a whole batch at once, because per-image pipelines starve the cores.

    Args:
        images: uint8 `[n, 28, 28]`, zero outside the garment.
        mirror: bool `[n]`, which images to flip left to right.
        config: `shift_pixels` and `cutout_pixels`.
        rng: Draws the shifts and cutouts.

    Returns:
        uint8 `[n, 28, 28]`, a new array.
    """
    images = np.where(mirror[:, None, None], images[:, :, ::-1], images)
    if config.shift_pixels:
        images = _shift(images, config.shift_pixels, rng)
    if config.cutout_pixels:
        images = _cut_out(images, config.cutout_pixels, rng)
    return images


def degrade(images: NDArray[np.uint8], share: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur some of the images, change their tones and add noise, each at random and at a random strength.

    Args:
        images: uint8 `[n, 28, 28]`.
        share: Probability that an image is chosen, 0 to 1.
        rng: Draws the images, the changes and their strengths.

    Returns:
        uint8 `[n, 28, 28]`, a new array.
    """
    chosen = rng.random(len(images)) < share
    values = images[chosen] / np.float32(255)

    def draw(least: float, most: float, otherwise: float) -> NDArray[np.float32]:
        """Draw a strength per image, float32 `[k, 1, 1]`: for half of them `otherwise`, which changes nothing."""
        is_spared = rng.random(len(values)) >= 0.5  # noqa: PLR2004  a coin
        strengths = np.where(is_spared, otherwise, rng.uniform(least, most, len(values)))
        return strengths.astype(np.float32)[:, None, None]

    for axis in (1, 2):
        padded = np.pad(values, [(0, 0), *((int(axis == side),) * 2 for side in (1, 2))])
        before, after = (padded.take(range(start, start + values.shape[axis]), axis) for start in (0, 2))
        values += draw(0, 0.3, 0) * (before + after - 2 * values)
    mean = values.mean(axis=(1, 2), keepdims=True)
    values = mean + draw(0.3, 1, 1) * (values - mean) + draw(0, 0.4, 0)
    noise = rng.standard_normal(values.shape, np.float32)
    grows_with_light = draw(0, 1, 0) > 0
    values += draw(0, 0.15, 0) * np.where(grows_with_light, np.sqrt(np.clip(values, 0, 1)), 1) * noise
    degraded = images.copy()
    degraded[chosen] = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    return degraded


def _shift(images: NDArray[np.uint8], most: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    count, height, width = images.shape
    padded = np.pad(images, ((0, 0), (most, most), (most, most)))
    offsets = rng.integers(0, 2 * most + 1, (2, count))
    rows = (offsets[0, :, None] + np.arange(height))[:, :, None]
    columns = (offsets[1, :, None] + np.arange(width))[:, None, :]
    shifted: NDArray[np.uint8] = padded[np.arange(count)[:, None, None], rows, columns]
    return shifted


def _cut_out(images: NDArray[np.uint8], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blank a square centred anywhere in each image (DeVries and Taylor, arXiv 1708.04552)."""
    count, height, width = images.shape
    row = np.arange(height) - (rng.integers(0, height, (count, 1)) - side // 2)
    column = np.arange(width) - (rng.integers(0, width, (count, 1)) - side // 2)
    cut = ((row >= 0) & (row < side))[:, :, None] & ((column >= 0) & (column < side))[:, None, :]
    return np.where(cut, np.uint8(0), images)
