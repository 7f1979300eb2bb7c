"""Writes a network as a SavedModel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from app.classifier import Answers
from app.model_card import IMAGE_SHAPE

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import numpy as np
    from numpy.typing import NDArray

    from training.trust.calibrate import Calibration


def save_graph(network: keras.Model, calibration: Calibration, folder: Path) -> None:
    """Write a network as a SavedModel that TensorFlow Serving can serve without changes.

    The weights are frozen into the graph so that TensorFlow folds normalisation into the convolutions.

    Args:
        network: From uint8 `[batch, 28, 28]` to logits `[batch, 10]` and familiarity scores `[batch]`.
        calibration: How logits become probabilities, and scores become familiarities.
        folder: Folder to write; its signature `serving_default` takes `images` and returns the fields of `Answers`.
    """

    @tf.function(input_signature=[tf.TensorSpec([None, *IMAGE_SHAPE], tf.uint8, name="images")])  # type: ignore[untyped-decorator]  # TensorFlow ships no types
    def answers(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits, scores = network(images, training=False)
        return calibration.sharpening(logits), _share_below(scores, calibration.quantiles)

    frozen = convert_variables_to_constants_v2(answers.get_concrete_function())
    module = tf.Module()
    module.serving_default = tf.function(
        lambda images: dict(zip(Answers._fields, frozen(images), strict=True)), input_signature=answers.input_signature
    )
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serving_default})


def _share_below(scores: tf.Tensor, quantiles: NDArray[np.float32]) -> tf.Tensor:
    """Return the share of the quantiles' distribution below each score, interpolated linearly between quantiles."""
    after = tf.clip_by_value(tf.searchsorted(quantiles, scores, side="right"), 1, len(quantiles) - 1)
    low, high = tf.gather(quantiles, after - 1), tf.gather(quantiles, after)
    between = tf.clip_by_value(tf.math.divide_no_nan(scores - low, high - low), 0, 1)
    return (tf.cast(after - 1, tf.float32) + between) / (len(quantiles) - 1)
