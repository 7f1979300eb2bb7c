"""Keeps arrays that take long to make."""

from __future__ import annotations

import logging
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


logger = logging.getLogger(__name__)


def cached(path: Path, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays of a file, which are made and written first where there is none.

    Args:
        path: Ends in `.npz`; it appears whole or not at all, also where two jobs make the same.
        make: Makes the arrays, by name.
    """
    if path.exists():
        try:
            return _read(path)
        except (EOFError, ValueError, zipfile.BadZipFile):  # as the power's failure may leave it
            logger.warning("%s is damaged, and is made anew", path)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = make()
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial.npz", delete=False) as partial:
        try:
            np.savez(partial, allow_pickle=False, **arrays)
        except BaseException:  # a full disk is none the emptier for what is left on it
            Path(partial.name).unlink()
            raise
    Path(partial.name).replace(path)
    return _read(path)


def _read(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file, np.load(file) as kept:
        return {name: kept[name] for name in kept.files}
