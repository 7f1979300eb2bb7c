"""Quantises a network to 8 bits, which halves its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from app.imaging.onnx_network import OnnxNetwork


def quantise(network: OnnxNetwork, pictures: Iterable[NDArray[np.uint8]], path: Path) -> None:
    """Write a network with 7-bit weights and 8-bit activations.

    Processors without VNNI add pairs of products in signed 16 bits, which can hold twice 255 times 64, but not twice
    255 times 127.

    Args:
        network: The network with 32-bit numbers.
        pictures: uint8 `[height, width, 3]` each, like those the network will be given. The activations that they
            cause decide the range that the 256 steps cover.
        path: File to write.
    """
    prepared = path.with_suffix(".prepared")
    quant_pre_process(network.path, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        path,
        _Reader(network, pictures),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "Clip", "Add"],
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
    """Yields pictures one by one, as ONNX Runtime requests them."""

    def __init__(self, network: OnnxNetwork, pictures: Iterable[NDArray[np.uint8]]) -> None:
        self._inputs = ({"pixels": network.prepared(picture)} for picture in pictures)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._inputs, None)
