"""Writes a network as a SavedModel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from app.model_card import IMAGE_SHAPE

if TYPE_CHECKING:
    from pathlib import Path

    import keras


def save_graph(network: keras.Model, temperature: float, folder: Path) -> None:
    """Write a network as a SavedModel that TensorFlow Serving can serve as it is.

    The weights are frozen into the graph, because TensorFlow then folds normalisation into the convolutions.

    Args:
        network: From uint8 `[batch, 28, 28]` to logits `[batch, 10]`.
        temperature: What the logits are divided by.
        folder: Where to write; `serving_default` takes `images` and gives `probabilities`, float32 `[batch, 10]`.
    """

    @tf.function(input_signature=[tf.TensorSpec([None, *IMAGE_SHAPE], tf.uint8, name="images")])  # type: ignore[untyped-decorator]  # TensorFlow ships no types
    def probabilities(images: tf.Tensor) -> tf.Tensor:
        # oneDNN may round a share to just above 1.
        return tf.minimum(tf.nn.softmax(network(images, training=False) / temperature), 1.0)

    frozen = convert_variables_to_constants_v2(probabilities.get_concrete_function())
    module = tf.Module()
    module.serving_default = tf.function(
        lambda images: {"probabilities": frozen(images)[0]}, input_signature=probabilities.input_signature
    )
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serving_default})
