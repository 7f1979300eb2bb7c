"""Replaces a folder in one step: a kill at any moment leaves either the complete old folder or the complete new one."""

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
    """Swap two folders in a single system call.

    A POSIX rename cannot replace a folder that is not empty, and between two renames neither folder is in place.

    Raises:
        AttributeError: The C library has no `renameat2`, as outside Linux.
        OSError: The file system cannot swap them.
    """
    at_fdcwd, rename_exchange = -100, 2  # linux/fcntl.h, linux/fs.h
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(at_fdcwd, os.fsencode(one), at_fdcwd, os.fsencode(other), rename_exchange):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))


@contextmanager
def replacing(folder: Path, exchange: Callable[[Path, Path], None] = exchange) -> Iterator[Path]:
    """Yield a new folder to fill, and put it in the place of `folder` once the block has succeeded.

    A reader finds the complete old content or the complete new content at any moment, and after a kill at any moment.
    Where the file system cannot swap two folders (macOS, some network mounts), a kill between two renames can leave
    neither in place; both are then complete beside `folder`, under names that start with a dot.

    Args:
        folder: Folder to replace or create.
        exchange: Swaps two folders in one step, or raises.

    Yields:
        An empty folder beside `folder`. It is removed when the block raises. A killed job leaves it behind, under a
        name that starts with a dot; the next export that finds `folder` in place removes it.
    """
    folder = folder.resolve()  # a symbolic link to the folder stays valid
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}-staging-"
    for left in folder.parent.glob(f"{prefix}*"):
        if folder.exists():
            shutil.rmtree(left)
    staging = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        yield staging
        staging.chmod(0o755)  # mkdtemp makes it accessible to its owner alone
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
