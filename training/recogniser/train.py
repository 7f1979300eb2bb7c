"""Trains the recogniser on lessons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from tqdm.keras import TqdmCallback

from training.recogniser.network import build, published_weights
from training.train import OneCycle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.recogniser.config import RecogniserConfig

WARMUP = 0.1


def train(config: RecogniserConfig, lessons: NDArray[np.uint8], targets: NDArray[np.float32]) -> keras.Model:
    """Train all layers, from ImageNet's weights on.

    Args:
        config: How to train.
        lessons: uint8 `[n, 1 + ways, 160, 160, 3]`, all versions of each photograph.
        targets: float32 `[n, 10]`, the right labels of each photograph, each row summing to 1.

    Returns:
        The network of `training.recogniser.network`.
    """
    keras.utils.set_random_seed(config.seed)
    network = build(published_weights(), config.dropout)
    batches = Batches(config, lessons, targets)
    network.compile(
        keras.optimizers.Adam(
            OneCycle(config.learning_rate, WARMUP, len(batches)), use_ema=True, ema_momentum=config.averaging
        ),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config.label_smoothing),
        jit_compile=False,  # XLA's convolutions take 20 times as long on a CPU
    )
    network.fit(batches, shuffle=False, verbose=0, callbacks=[TqdmCallback(verbose=2)])
    return network


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras ships no types
    """Batches of lessons, drawn in another thread; the same number always gives the same batch."""

    def __init__(self, config: RecogniserConfig, lessons: NDArray[np.uint8], targets: NDArray[np.float32]) -> None:
        """Take the lessons of all photographs, and the order in which they are shown from the config's seed."""
        super().__init__(workers=1, max_queue_size=8)
        self.config, self.lessons, self.targets = config, lessons, targets
        rng = np.random.default_rng(config.seed)
        self.order = np.concatenate([rng.permutation(len(lessons)) for _ in range(config.epochs)])

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.order) // self.config.batch_size

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Draw a batch: uint8 `[n, 160, 160, 3]` and float32 `[n, 10]`.

        Source:
            Zhang et al., "mixup" (arXiv 1710.09412); Zhong et al., "Random Erasing Data Augmentation" (arXiv
            1708.04896).
        """
        config = self.config
        rng = np.random.default_rng([config.seed, number])
        which = self.order[number * config.batch_size :][: config.batch_size]
        pictures = self.lessons[which, rng.integers(self.lessons.shape[1], size=len(which))]
        for picture in pictures:
            if rng.random() < 0.5:  # noqa: PLR2004  a coin
                picture[:] = picture[:, ::-1].copy()
            if rng.random() < config.erased_share:
                _erase(picture, rng)
        return _blend(pictures, self.targets[which], config.blending, rng)


def _erase(picture: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Fill a square, a fifth to a half of the side, with a colour."""
    side = len(picture)
    size = int(rng.integers(side // 5, side // 2))
    top, left = rng.integers(side - size, size=2)
    picture[top : top + size, left : left + size] = rng.integers(256, size=3)


def _blend(
    pictures: NDArray[np.uint8], targets: NDArray[np.float32], blending: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Blend each picture, and its target, with another of the batch."""
    other = rng.permutation(len(pictures))
    shares = rng.beta(blending, blending, len(pictures)).astype(np.float32)

    def blended(values: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        kept = shares.reshape(-1, *[1] * (values.ndim - 1))
        return np.asarray(kept * values + (1 - kept) * values[other], np.float32)

    return np.rint(blended(pictures)).astype(np.uint8), blended(targets)
