"""Writes a Keras network as ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import onnx
from keras import layers
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt
    from numpy.typing import NDArray

OPSET, IR_VERSION = 13, 8
"""Versions of ONNX that are old enough for any current reader."""


def export(network: keras.Model, path: Path, facts: Mapping[str, str] | None = None) -> None:
    """Write the network as ONNX, with each normalisation folded into the preceding convolution.

    tf2onnx expands upsampling into thirty nodes that OpenCV cannot read, and these few kinds of layer are soon written.

    Args:
        network: One input, uint8 `[batch, side, side, 3]`, rescaled to -1 to 1 by its first layer. Sides are even
            wherever a convolution halves them.
        path: File to write. The network takes `pixels`, float32 `[1, 3, side, side]`, -1 to 1, and returns float32
            `[1, ...]`, channels first.
        facts: Metadata to write into the file.

    Raises:
        ValueError: A layer is of a kind that is not written.
    """
    graph = _Graph()
    for layer in network.layers:
        graph.add(layer)
    _, side, _, channels = network.input_shape
    shape = [1, *network.output_shape[1:]]
    real = onnx.TensorProto.FLOAT
    made = helper.make_graph(
        graph.nodes,
        network.name,
        [helper.make_tensor_value_info("pixels", real, [1, channels, side, side])],
        [helper.make_tensor_value_info(graph.nodes[-1].output[0], real, [1, shape[-1], *shape[1:-1]])],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    write(model, path, facts or {})


def write(model: onnx.ModelProto, path: Path, facts: Mapping[str, str]) -> None:
    """Check a model and write it with its metadata."""
    helper.set_model_props(model, dict(facts))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


class _Graph:
    """The nodes and constants of an ONNX graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._name_of: dict[int, str] = {}

    def add(self, layer: layers.Layer) -> None:
        """Write a layer, which follows those that it takes its inputs from."""
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        sources = [self._name_of.get(id(tensor), "pixels") for tensor in inputs]
        match layer:
            case layers.InputLayer() | layers.Rescaling():
                name = "pixels"
            case layers.BatchNormalization() | layers.Dropout():
                name = sources[0]
            case _:
                name = layer.name
                self._node(layer, sources)
        self._name_of[id(layer.output)] = name

    def _node(self, layer: layers.Layer, sources: list[str]) -> None:
        kind, settings = type(layer).__name__, {}
        match layer:
            case layers.Conv2D() | layers.DepthwiseConv2D():
                kernel, bias = _folded(layer)
                sources += [self._constant(layer, "kernel", kernel), self._constant(layer, "bias", bias)]
                kind, settings = "Conv", _strides_and_pads(kernel.shape[-1], layer.strides[0])
                settings["group"] = len(kernel) if isinstance(layer, layers.DepthwiseConv2D) else 1
            case layers.Dense():
                sources += [self._constant(layer, part, getattr(layer, part).numpy()) for part in ("kernel", "bias")]
                kind = "Gemm"
            case layers.ReLU(max_value=None):
                kind = "Relu"
            case layers.ReLU():
                sources += [self._constant(layer, "least", 0), self._constant(layer, "most", layer.max_value)]
                kind = "Clip"
            case layers.UpSampling2D():
                sources += ["", self._constant(layer, "scales", [1, 1, 2, 2])]
                kind, settings = "Resize", {"mode": "nearest", "nearest_mode": "floor"}
                settings["coordinate_transformation_mode"] = "asymmetric"
            case layers.GlobalAveragePooling2D():
                self.nodes.append(helper.make_node("GlobalAveragePool", sources, [f"{layer.name}.mean"]))
                kind, sources = "Flatten", [f"{layer.name}.mean"]
            case layers.Concatenate():
                kind, settings = "Concat", {"axis": 1}
            case layers.Add():
                pass
            case _:
                msg = f"expected a kind of layer that can be written as ONNX, found {kind}: {layer.name}"
                raise ValueError(msg)
        self.nodes.append(helper.make_node(kind, sources, [layer.name], **settings))

    def _constant(self, layer: layers.Layer, part: str, value: npt.ArrayLike) -> str:
        name = f"{layer.name}.{part}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name


def _strides_and_pads(size: int, stride: int) -> dict[str, Any]:
    """Return the settings of a convolution that pads as TensorFlow does where the side is even."""
    before = (size - stride) // 2
    after = size - stride - before
    return {"strides": [stride, stride], "pads": [before, before, after, after]}


def _folded(convolution: layers.Layer) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a convolution's kernel, `[out, in, height, width]`, and bias, after folding in the next normalisation."""
    order = (2, 3, 0, 1) if isinstance(convolution, layers.DepthwiseConv2D) else (3, 2, 0, 1)
    kernel = convolution.kernel.numpy().transpose(order)
    if convolution.use_bias:
        return kernel, convolution.bias.numpy()
    normalisation = _next(convolution)
    gain = normalisation.gamma.numpy() / np.sqrt(normalisation.moving_variance.numpy() + normalisation.epsilon)
    return kernel * gain[:, None, None, None], normalisation.beta.numpy() - normalisation.moving_mean.numpy() * gain


def _next(layer: layers.Layer) -> layers.Layer:
    """Return the only layer that takes the given layer's output."""
    (node,) = layer._outbound_nodes  # noqa: SLF001  Keras has no public name for it
    return node.operation
