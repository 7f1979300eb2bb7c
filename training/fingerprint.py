"""Says in eight digits whether anything differs that a result depends on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import PIL

from app import imaging

CONVERSION = (
    # The look in colour comes after it.
    *sorted(path for path in Path(imaging.__path__[0]).glob("*.py") if path.name != "recognition.py"),
    *(f"{library.__name__} {library.__version__}" for library in (cv2, np, onnxruntime, PIL)),
)
"""What every conversion of a photograph depends on but the segmenter's weights: code, and libraries by version."""


def fingerprint(*parts: object) -> str:
    """Return eight hexadecimal digits that differ when any part does.

    Args:
        parts: An array counts with its shape and values, a path with what the file holds wherever it lies, anything
            else as it is written by `repr`.
    """
    # Each is digested by itself: the end of one part cannot pass for the beginning of the next.
    return hashlib.sha256(b"".join(map(_digest, parts))).hexdigest()[:8]


def code(*names: str) -> tuple[Path, ...]:
    """Return modules of `training` by file name."""
    return tuple(Path(__file__).with_name(name) for name in names)


def _digest(part: object) -> bytes:
    if isinstance(part, np.ndarray):
        values = hashlib.sha256(part.ravel().data).hexdigest()  # not of a copy: some have hundreds of megabytes
        part = part.shape, part.dtype.str, values
    return hashlib.sha256(part.read_bytes() if isinstance(part, Path) else repr(part).encode()).digest()
