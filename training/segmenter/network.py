"""The network that separates garment from background, and its ONNX file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import onnx
from keras import layers
from onnx import helper, numpy_helper

from app.imaging.segmentation import SIDE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

WIDTHS = (16, 32, 64, 96)
"""Numbers of channels at a half, a quarter, an eighth and a sixteenth of the side."""

OPSET, IR_VERSION = 13, 8
"""Versions of ONNX that are old enough for any current reader."""


def build() -> keras.Model:
    """Build the network with fresh weights, under Keras' current precision policy.

    Returns:
        A model from uint8 `[batch, 96, 96, 3]` to float32 logits `[batch, 48, 48, 4]`; see `quarters`.

    Source:
        Ronneberger et al., "U-Net" (arXiv 1505.04597), with sums in place of concatenations, and with channels for the
        last doubling of the side (Shi et al., arXiv 1609.05158).
    """
    pixels = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="pixels")
    features = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    steps = []
    for depth, width in enumerate(WIDTHS):
        features = _convolved(features, width, strides=2)
        for _ in range(depth):
            features = _convolved(features, width)
        steps.append(features)
    for width, step in zip(WIDTHS[-2::-1], steps[-2::-1], strict=True):
        larger = layers.UpSampling2D()(layers.Conv2D(width, 1)(features))
        features = _convolved(layers.Add()([larger, step]), width)
    logits = layers.Conv2D(4, 3, padding="same", dtype="float32", name="logits")(features)
    return keras.Model(pixels, logits, name="segmenter")


def _convolved(features: keras.KerasTensor, width: int, strides: int = 1) -> keras.KerasTensor:
    convolution = layers.Conv2D(
        width, 3, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal"
    )
    return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(convolution(features)))


def quarters(garment: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fold each block of two by two pixels into four channels: `[n, 96, 96]` becomes `[n, 48, 48, 4]`."""
    count, height, width = garment.shape
    folded = garment.reshape(count, height // 2, 2, width // 2, 2).transpose(0, 1, 3, 2, 4)
    return folded.reshape(count, height // 2, width // 2, 4)


def export(network: keras.Model, path: Path, facts: Mapping[str, str]) -> None:
    """Write the network as ONNX, with each normalisation folded into the preceding convolution.

    tf2onnx expands upsampling into thirty nodes that OpenCV cannot read, and these few kinds of layer are soon written.

    Args:
        network: As returned by `build`.
        path: File to write. The network takes float32 `[1, 3, 96, 96]`, -1 to 1, and returns float32 `[1, 4, 48, 48]`.
        facts: Metadata to write into the file.
    """
    nodes, constants = [], []
    name_of: dict[int, str] = {}

    def constant(name: str, value: NDArray[np.float32]) -> str:
        constants.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    for layer in network.layers:
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        sources = [name_of.get(id(tensor), "pixels") for tensor in inputs]
        match layer:
            case layers.InputLayer() | layers.Rescaling():
                name_of[id(layer.output)] = "pixels"
                continue
            case layers.BatchNormalization():
                name_of[id(layer.output)] = sources[0]
                continue
            case layers.Conv2D():
                kernel, bias = _folded(layer)
                size, stride = kernel.shape[-1], layer.strides[0]
                before = size // 2 if stride == 1 else 0  # as TensorFlow pads an even side
                sources += [constant(f"{layer.name}.kernel", kernel), constant(f"{layer.name}.bias", bias)]
                pads = [before, before, size // 2, size // 2]
                node = helper.make_node("Conv", sources, [layer.name], strides=[stride, stride], pads=pads)
            case layers.UpSampling2D():
                sources += ["", constant(f"{layer.name}.scales", np.array([1, 1, 2, 2]))]
                node = helper.make_node(
                    "Resize",
                    sources,
                    [layer.name],
                    mode="nearest",
                    nearest_mode="floor",
                    coordinate_transformation_mode="asymmetric",
                )
            case layers.ReLU():
                node = helper.make_node("Relu", sources, [layer.name])
            case _:
                node = helper.make_node(type(layer).__name__, sources, [layer.name])  # Add
        nodes.append(node)
        name_of[id(layer.output)] = layer.name
    real = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        network.name,
        [helper.make_tensor_value_info("pixels", real, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(nodes[-1].output[0], real, [1, 4, SIDE // 2, SIDE // 2])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    helper.set_model_props(model, dict(facts))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _folded(convolution: layers.Conv2D) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a convolution's kernel, `[out, in, height, width]`, and bias, after folding in the next normalisation."""
    kernel = convolution.kernel.numpy().transpose(3, 2, 0, 1)
    if convolution.use_bias:
        return kernel, convolution.bias.numpy()
    normalisation = _next(convolution)
    gain = normalisation.gamma.numpy() / np.sqrt(normalisation.moving_variance.numpy() + normalisation.epsilon)
    return kernel * gain[:, None, None, None], normalisation.beta.numpy() - normalisation.moving_mean.numpy() * gain


def _next(layer: layers.Layer) -> layers.Layer:
    """Return the only layer that takes the given layer's output."""
    (node,) = layer._outbound_nodes  # noqa: SLF001  Keras has no public name for it
    return node.operation
