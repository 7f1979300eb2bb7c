"""What every rival does with a picture: the same decoding, the same concrete function, the same ten probabilities."""

import io
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

ARTIFACT = os.environ["ARTIFACT"]
WORKERS = 2
MOST_IMAGES = 32
"""Largest batch, the same as our default."""


class Model:
    """The artifact; with two workers, each may use half of the cores, as in ours."""

    def __init__(self) -> None:
        """Load the artifact and warm it up."""
        tf.config.threading.set_intra_op_parallelism_threads(max(1, len(os.sched_getaffinity(0)) // WORKERS))
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self._loaded = tf.saved_model.load(ARTIFACT)  # kept, or its variables would be freed
        self._signature = self._loaded.signatures["serving_default"]
        self.classify([np.zeros((28, 28), np.uint8)])

    def classify(self, images: list[NDArray[np.uint8]]) -> list[list[float]]:
        """Return ten probabilities for each of the images, uint8 `[28, 28]`."""
        return self._signature(images=tf.constant(np.stack(images)))["probabilities"].numpy().tolist()


def decode(data: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a 28x28 grey PNG, uint8 `[28, 28]`."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("L"))
