"""Recovers a network's weights from an artifact, for a run that starts from them."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

import tensorflow as tf
from keras import layers

from training.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import numpy as np

READS = {
    layers.Conv2D: ("convolution",),
    layers.BatchNormalization: ("Cast_2", "Cast_3", "Cast", "Cast_1"),  # statistics are read before scale and offset
    layers.Dense: ("Cast", "BiasAdd"),
}
"""The Keras operations that read each kind of layer's weights, in the order of `layer.get_weights()`."""

CONSTANT = re.compile(r".*/(?P<kind>\w*[a-z]\w*?)(?P<number>(_\d+)*)/(?P<read>\w+)/ReadVariableOp/resource")
HEAD = "/familiarity"
"""Part of the names in the familiarity head, which is fitted anew to each network."""


def load_weights(network: keras.Model, artifact: Path) -> None:
    """Give a network the weights that `training.export` froze into an artifact's graph, in place.

    Args:
        network: Built in the same way as the artifact's network.
        artifact: Folder of a SavedModel.

    Raises:
        DataError: The artifact is of another network.
    """
    frozen = _constants(artifact)
    kinds = defaultdict(list)
    for layer in network.layers:
        if layer.weights:
            kinds[re.sub(r"(_\d+)+$", "", layer.name)].append(layer)
    if {kind: len(found) for kind, found in kinds.items()} != {kind: len(found) for kind, found in frozen.items()}:
        msg = f"{artifact}: expected the weights of a {network.name}, received those of another network"
        raise DataError(msg)
    for kind, alike in kinds.items():
        # Layers are numbered in the order of their creation, starting from a different number in each process.
        for layer, (_, values) in zip(alike, sorted(frozen[kind].items()), strict=True):
            reads = READS[type(layer)]
            try:
                layer.set_weights([values[read] for read in reads])
            except (KeyError, ValueError) as error:
                msg = f"{artifact}: expected the weights of a {network.name}, received others for {layer.name}"
                raise DataError(msg) from error


def _constants(artifact: Path) -> dict[str, dict[tuple[int, ...], dict[str, np.ndarray]]]:
    """Read the layers' constants, by kind of layer, number of the layer, and operation that reads the constant."""
    graph = tf.saved_model.load(str(artifact)).signatures["serving_default"].graph.as_graph_def()
    constants: dict[str, dict[tuple[int, ...], dict[str, np.ndarray]]] = defaultdict(lambda: defaultdict(dict))
    for function in graph.library.function:
        for node in function.node_def:
            named = CONSTANT.fullmatch(node.name)
            if named and HEAD not in node.name:
                number = tuple(map(int, named["number"].split("_")[1:]))
                value = tf.make_ndarray(node.attr["value"].tensor)
                constants[named["kind"]][number][named["read"]] = value
    return constants
