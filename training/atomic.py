"""Replaces a folder in one step, so that a kill at any moment leaves the old one whole or the new one whole."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def exchange(one: Path, other: Path) -> None:
    """Swap two folders in one step of the kernel's.

    POSIX rename cannot replace a folder that is not empty, and two renames leave a moment with neither.

    Raises:
        AttributeError: The C library has no `renameat2`: this is not Linux.
        OSError: The file system cannot do it.
    """
    at_fdcwd, rename_exchange = -100, 2  # linux/fcntl.h, linux/fs.h
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(at_fdcwd, os.fsencode(one), at_fdcwd, os.fsencode(other), rename_exchange):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))


@contextmanager
def replacing(folder: Path, exchange: Callable[[Path, Path], None] = exchange) -> Iterator[Path]:
    """Give a new folder to fill, and put it in the place of `folder` when all went well.

    Whoever looks, at any moment and after a kill at any moment, finds the old content whole or the new content whole.
    Where the file system cannot swap two folders (macOS, some network mounts) a kill between two renames can leave
    neither in place, both whole beside it under names starting with a dot.

    Args:
        folder: What to replace or create.
        exchange: Swaps two folders in one step, or raises.

    Yields:
        An empty folder beside it. It is removed when the block raises; a killed job leaves it, starting with a dot, and
        the next export removes it.
    """
    folder = folder.resolve()  # a link goes on leading to it
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}-staging-"
    for left in folder.parent.glob(f"{prefix}*"):
        if folder.exists():
            shutil.rmtree(left)
    staging = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        yield staging
        staging.chmod(0o755)  # mkdtemp's is readable by its owner alone
        if folder.exists():
            try:
                exchange(staging, folder)
            except (AttributeError, OSError):
                folder.rename(staging.with_name(f"{staging.name}-old"))
                staging.rename(folder)
                staging = staging.with_name(f"{staging.name}-old")
        else:
            staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
