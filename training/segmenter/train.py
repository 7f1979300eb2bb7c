"""Trains the segmenter on scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from tqdm.keras import TqdmCallback

from training.config import native_precision
from training.segmenter.network import build, quarters
from training.train import OneCycle

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.segmenter.config import SegmenterConfig
    from training.segmenter.scenes import Studio

WARMUP = 0.1


def train(config: SegmenterConfig, studio: Studio, start: Path | None) -> keras.Model:
    """Train in the precision that this machine is quick in.

    Args:
        config: How.
        studio: Draws the scenes.
        start: Weights to start from; None for fresh ones.

    Returns:
        The network in float32, with the averaged weights.
    """
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(native_precision())
    network = build()
    keras.config.set_dtype_policy("float32")
    if start:
        network.load_weights(start)
    optimizer = keras.optimizers.AdamW(
        OneCycle(config.learning_rate, WARMUP, config.steps),
        weight_decay=config.weight_decay,
        use_ema=True,
        ema_momentum=config.averaging,
    )
    network.compile(optimizer, keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=False)
    network.fit(Batches(config, studio), shuffle=False, verbose=0, callbacks=[TqdmCallback(verbose=2)])
    trained = build()
    trained.set_weights(network.get_weights())
    return trained


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras ships no types
    """Batches of scenes, drawn in another thread; the same number is always the same batch."""

    def __init__(self, config: SegmenterConfig, studio: Studio) -> None:
        """Take how many, how large, and who draws."""
        super().__init__(workers=1, max_queue_size=8)
        self.config, self.studio = config, studio

    def __len__(self) -> int:
        """Return how many batches there are."""
        return self.config.steps

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Draw a batch: uint8 `[n, 96, 96, 3]` and float32 `[n, 48, 48, 4]`."""
        rng = np.random.default_rng([self.config.seed, number])
        scenes = [self.studio.scene(rng) for _ in range(self.config.batch_size)]
        return np.stack([colours for colours, _ in scenes]), quarters(np.stack([garment for _, garment in scenes]))
