"""Caches arrays that take long to compute."""

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
    """Return the arrays in a file; if there is no file, or a damaged one, make the arrays and write them first.

    Args:
        path: File that ends in `.npz`. It appears complete or not at all, even if two jobs write it at the same time.
        make: Makes the arrays, by name.
    """
    if path.exists():
        try:
            return _read(path)
        except (EOFError, ValueError, zipfile.BadZipFile):  # as a power failure may leave it
            logger.warning("%s is damaged, and is made anew", path)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = make()
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial.npz", delete=False) as partial:
        try:
            np.savez(partial, allow_pickle=False, **arrays)
        except BaseException:  # for example a full disk, which the rest would keep full
            Path(partial.name).unlink()
            raise
    Path(partial.name).replace(path)
    return _read(path)


def _read(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file, np.load(file) as kept:
        return {name: kept[name] for name in kept.files}
