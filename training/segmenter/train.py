"""Trains the segmenter on scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from tqdm.keras import TqdmCallback

from training.config import native_precision
from training.network import precision
from training.segmenter.network import build, quarters
from training.train import OneCycle

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.segmenter.config import SegmenterConfig
    from training.segmenter.scenes import Studio

WARMUP = 0.1


def train(config: SegmenterConfig, studio: Studio, start: Path | None) -> keras.Model:
    """Train the network in the precision that is fastest on this machine.

    Args:
        config: How to train.
        studio: Draws the scenes.
        start: File of the weights to start from; None starts from fresh ones.

    Returns:
        The network in float32, with the averaged weights.
    """
    keras.utils.set_random_seed(config.seed)
    with precision(native_precision()):
        network = build()
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
    """Batches of scenes, drawn in another thread; the same number always gives the same batch."""

    def __init__(self, config: SegmenterConfig, studio: Studio) -> None:
        """Take the number and size of the batches from the config, and the scenes from the studio."""
        super().__init__(workers=1, max_queue_size=8)
        self.config, self.studio = config, studio

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.config.steps

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Draw a batch: uint8 `[n, 96, 96, 3]` and float32 `[n, 48, 48, 4]`."""
        rng = np.random.default_rng([self.config.seed, number])
        scenes = [self.studio.scene(rng) for _ in range(self.config.batch_size)]
        return np.stack([colours for colours, _ in scenes]), quarters(np.stack([garment for _, garment in scenes]))
