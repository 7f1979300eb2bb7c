"""Fingerprints what a result depends on, in eight hexadecimal digits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import PIL

from app import imaging

CONVERSION = (
    # Recognition in colour comes after the conversion.
    *sorted(path for path in Path(imaging.__path__[0]).glob("*.py") if path.name != "recognition.py"),
    *(f"{library.__name__} {library.__version__}" for library in (cv2, np, onnxruntime, PIL)),
)
"""What every conversion of a photograph depends on, except the segmenter's weights: code and library versions."""


def fingerprint(*parts: object) -> str:
    """Return eight hexadecimal digits that differ when any part does.

    Args:
        parts: An array counts by its type, shape and values; a path by the file's content, wherever it is; anything
            else by its `repr`.
    """
    # Each part is digested separately, so that the end of one cannot pass for the start of the next.
    return hashlib.sha256(b"".join(map(_digest, parts))).hexdigest()[:8]


def code(*names: str) -> tuple[Path, ...]:
    """Return the paths of modules of `training`, given as paths relative to it."""
    return tuple(Path(__file__).parent / name for name in names)


def _digest(part: object) -> bytes:
    if isinstance(part, np.ndarray):
        values = hashlib.sha256(part.ravel().data).hexdigest()  # without a copy: some arrays have hundreds of megabytes
        part = part.shape, part.dtype.str, values
    return hashlib.sha256(part.read_bytes() if isinstance(part, Path) else repr(part).encode()).digest()
