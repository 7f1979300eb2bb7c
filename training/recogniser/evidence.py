"""Turns the network's logits into evidence for each label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

from training.data import LABELS
from training.onnx_file import write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

LEAST_EVIDENCE = -5.0
"""Least evidence: no label becomes less likely by more than a factor of e^5, however sure the network is."""


def complete(network: Path, prior: NDArray[np.float32], sharpness: float, path: Path, facts: Mapping[str, str]) -> None:
    """Write a network that returns evidence instead of logits.

    Args:
        network: File of a network that returns logits, float32 `[1, 10]`.
        prior: float32 `[10]`, how often each label was right in training; 0 where there were no photographs of it.
        sharpness: Factor of the logits.
        path: File to write. The network returns what `app.imaging.recognition.evidence_in` does, float32 `[1, 10]`.
        facts: Metadata to write into the file.
    """
    model = onnx.load(network)
    (logits,) = model.graph.output
    known = prior > 0
    constants = {
        "sharpness": np.array(sharpness),
        "hidden": np.where(known, 0, -100),  # a label never seen has no share of the probability
        "log_prior": np.log(np.where(known, prior, 1)),
        "known": known,
        "least": np.array(LEAST_EVIDENCE),
    }
    model.graph.initializer.extend(numpy_helper.from_array(v.astype(np.float32), n) for n, v in constants.items())
    model.graph.node.extend(
        [
            helper.make_node("Mul", [logits.name, "sharpness"], ["sharp"]),
            helper.make_node("Add", ["sharp", "hidden"], ["seen"]),
            helper.make_node("LogSoftmax", ["seen"], ["log_likely"], axis=1),
            helper.make_node("Sub", ["log_likely", "log_prior"], ["told"]),
            helper.make_node("Mul", ["told", "known"], ["known_of"]),  # no evidence for or against unknown labels
            helper.make_node("Clip", ["known_of", "least"], ["evidence"]),
        ]
    )
    logits.CopyFrom(helper.make_tensor_value_info("evidence", onnx.TensorProto.FLOAT, [1, len(LABELS)]))
    write(model, path, facts)
