from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper
from PIL import Image

from app.http.pages import WEB
from training.recogniser.network import Backbone, export, published_weights
from training.recogniser.quantisation import quantise

if TYPE_CHECKING:
    from pathlib import Path


def test_an_8_bit_network_has_nearly_the_same_features_in_a_third_of_the_bytes(tmp_path: Path) -> None:
    real, quantised = (Backbone(tmp_path / f"{name}.onnx") for name in ("real", "quantised"))
    export(published_weights(), real.path)
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sorted((WEB / "samples").glob("*.jpg"))]
    assert len(pictures) > 1
    quantise(real, pictures, quantised.path)
    before, after = (np.stack([network.look_at(picture) for picture in pictures]) for network in (real, quantised))
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.95
    assert quantised.path.stat().st_size < real.path.stat().st_size / 3
    kernels = [numpy_helper.to_array(tensor) for tensor in onnx.load(quantised.path).graph.initializer]
    whole = [kernel for kernel in kernels if kernel.dtype == np.int8 and kernel.ndim == 4]
    assert len(whole) == 48  # one for each convolution
    assert all(np.abs(kernel.astype(int)).max() <= 64 for kernel in whole)  # 7 bits: pairs of products do not overflow
    assert sorted(path.name for path in tmp_path.iterdir()) == ["quantised.onnx", "real.onnx"]
