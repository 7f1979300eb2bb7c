"""Numbers that the workers of a service share: each writes its own, and any can read all."""

from __future__ import annotations

import mmap
import os
import struct
import sys
from multiprocessing import reduction
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Row = memoryview[float]
    """The cells of one process, float64 `[CELLS]`."""

    Living = dict[int, tuple[int, NDArray[np.float64]]]
    """The process id and the cells of each row that has a living process, by row."""

if sys.platform != "win32":
    import fcntl

CELLS = 8192
"""Numbers in a row; pages that are never touched take no memory."""

ROW_BYTES = 8 * CELLS

JOINS = 0
"""The cell that counts how many processes have had the row."""

logger = structlog.get_logger(__name__)


def _create(name: str) -> int:
    """Create an in-memory file, which needs Linux and a Python that was not built against a glibc before 2.27."""
    if sys.platform != "linux" or not hasattr(os, "memfd_create"):
        msg = "this Python has no memfd_create"
        raise OSError(msg)
    return os.memfd_create(name)


class Tally:
    """Rows of float64, one for each process that has joined.

    The rows are in shared memory that is not a file in any folder (`memfd_create`): no folder need be writable, no disk
    can be full, and the memory goes with the last process, however it ends. A lock marks each row that has a living
    process; the kernel releases it when the process dies. The next process to join takes over a row without a lock and
    continues its counts, so that no count is lost and none decreases.

    Adding to a cell is a single store of eight bytes by the row's only writer, so nobody reads half a number.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Take the descriptor of the shared memory; None keeps the numbers in this process."""
        self._descriptor = descriptor
        self._row = 0

    @classmethod
    def shared(cls, processes: int, create: Callable[[str], int] = _create) -> Tally:
        """Create a tally for a number of processes, to be passed to each of them when it is started.

        If the system cannot share memory this way, each process keeps a tally of its own, and the log says so.

        Args:
            processes: Number of processes that live at a time.
            create: Creates an in-memory file and returns its descriptor.
        """
        try:
            descriptor = create("tally")
            # Twice: a worker that is replaced may still be ending when the next one joins.
            os.ftruncate(descriptor, 2 * processes * ROW_BYTES)
        except OSError as error:
            logger.warning("metrics are of the worker that answers alone: no memory to share", reason=str(error))
            return cls()
        return cls(descriptor)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle, for a process that is being started, as the descriptor, which stays open there."""
        if self._descriptor is None:
            return Tally, ()
        return _arrived, (reduction.DupFd(self._descriptor),)

    def join(self) -> Row:
        """Take a row for this process and return its cells, float64 `[CELLS]`, which only one thread may write."""
        memory: mmap.mmap | bytearray = bytearray(ROW_BYTES)
        if self._descriptor is not None:
            shared = mmap.mmap(self._descriptor, 0)
            free = next((row for row in range(len(shared) // ROW_BYTES) if self._lock(row)), None)
            if free is None:
                logger.warning("metrics of this worker are in its own answers alone: every row is taken")
                self._descriptor = None
            else:
                memory, self._row = shared, free
        self._rows = np.frombuffer(memory).reshape(-1, CELLS)
        cells = memoryview(memory).cast("d")[self._row * CELLS : (self._row + 1) * CELLS]
        cells[JOINS] += 1
        return cells

    def totals(self) -> list[float]:
        """Return the sum of each cell over all processes that ever joined."""
        totals: list[float] = self._used().sum(axis=0).tolist()
        return totals

    def living(self) -> Living:
        """Return the process id and the cells of each row that has a living process, by row."""
        found = {}
        for row, cells in enumerate(self._used()):
            if pid := os.getpid() if row == self._row else self._owner(row):
                found[row] = (pid, cells)
        return found

    def _used(self) -> NDArray[np.float64]:
        """Return the rows that ever had a process: the first ones, since a process takes the lowest free row."""
        return self._rows[: np.count_nonzero(self._rows[:, JOINS])]

    def _lock(self, row: int) -> bool:
        """Lock a row for this process, and return whether that succeeded because no living process had it."""
        if self._descriptor is None:
            return False
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, row)
        except OSError:
            return False
        return True

    def _owner(self, row: int) -> int:
        """Return the id of the other process that has a row, 0 if none has.

        Source:
            `struct flock` of fcntl(2) on 64-bit Linux; `lockf` cannot ask without locking.
        """
        if self._descriptor is None:
            return 0
        asked = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, row, 1, 0)
        kind, _, _, _, pid = struct.unpack("hhqqi", fcntl.fcntl(self._descriptor, fcntl.F_GETLK, asked))
        return 0 if kind == fcntl.F_UNLCK else pid


def _arrived(descriptor: Any) -> Tally:  # noqa: ANN401  what `DupFd` makes depends on how processes are started
    return Tally(descriptor.detach())
