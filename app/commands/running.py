"""Runs a command so that Ctrl-C, a reader that leaves, a full disk and closed streams end it as a user expects."""

from __future__ import annotations

import codecs
import errno
import io
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


def run(command: Callable[[], int]) -> NoReturn:
    """Run a command and exit with the code that it returns."""
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error("as_it_was", _as_it_was)
        sys.stdout.reconfigure(errors="as_it_was")
    try:
        code = command()
        sys.stdout.flush()  # here, where its errors are handled
        sys.exit(code)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends it even if the flush blocks
        with suppress(OSError):  # nobody reads the output
            sys.stdout.flush()
        os._exit(128 + signal.SIGINT)  # a normal exit waits for threads, and these for an answer or the end of a file
    except OSError as error:
        if error.errno not in {errno.EPIPE, errno.ENOSPC}:
            raise
        if error.errno == errno.ENOSPC:  # with EPIPE, the reader has seen enough
            sys.stderr.write(f"standard output: {error.strerror}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain at exit
        sys.exit(1)


def _as_it_was(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write the bytes of a file's name unchanged, and escape whatever else the encoding of standard output lacks."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def _open_closed_streams() -> None:
    """Open standard streams that were closed, as by `>&-`, on the null device, with their usual file descriptors."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # each gets the lowest free descriptor
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115  until the process ends
