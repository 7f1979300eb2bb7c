"""What the commands that classify pictures have in common: their arguments, and the pictures these name."""

from __future__ import annotations

import codecs
import errno
import io
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, get_args

from app.schemas import Conversion

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable, Sequence

STANDARD_INPUT = "-"

PICTURE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif")
)
"""What counts as a picture in a folder. The last three are refused with what to do, rather than left out in silence."""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments that both commands take."""
    parser.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        help="a file, a folder (searched recursively; hidden files and linked folders are skipped), or - for standard "
        "input",
    )
    parser.add_argument(
        "--conversion",
        choices=get_args(Conversion),
        default="auto",
        help="how a picture becomes the 28x28 image that the model sees (default: %(default)s, by what it looks like)",
    )
    formats = parser.add_mutually_exclusive_group()
    formats.set_defaults(format="table")
    formats.add_argument("--json", dest="format", action="store_const", const="json", help="one JSON object per line")
    formats.add_argument("--csv", dest="format", action="store_const", const="csv", help="CSV with a header row")


def find_pictures(arguments: Sequence[str], parser: ArgumentParser) -> list[str]:
    """Return files as they were named, and for each folder its pictures in order of their names, without hidden ones.

    A folder that cannot be read stands for its pictures: whoever reads it as one meets the same error.

    Raises:
        SystemExit: There are none, which the parser calls a usage error.
    """
    found: list[str] = []
    for argument in arguments:
        if not os.path.isdir(argument):  # noqa: PTH112  a Path raises where a name is too long
            found.append(argument)
            continue
        for folder, folders, files in os.walk(argument, onerror=lambda error: found.append(error.filename)):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found.extend(os.path.join(folder, name) for name in sorted(files) if _is_picture(name))  # noqa: PTH118  keeps ./
    if not found:
        parser.error(f"expected pictures, found none in {', '.join(arguments)}")
    return found


def run(command: Callable[[], int]) -> NoReturn:
    """Run a command and end the process with what it returns."""
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error("as_it_was", _as_it_was)
        sys.stdout.reconfigure(errors="as_it_was")
    try:
        code = command()
        sys.stdout.flush()  # here, where what it raises is understood
        sys.exit(code)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends it even where nobody takes the lines
        with suppress(OSError):  # nobody reads them
            sys.stdout.flush()
        os._exit(128 + signal.SIGINT)  # a usual end waits for threads, and these for an answer or the end of a file
    except OSError as error:
        if error.errno not in {errno.EPIPE, errno.ENOSPC}:
            raise
        if error.errno == errno.ENOSPC:  # otherwise whoever reads the lines has seen enough
            sys.stderr.write(f"standard output: {error.strerror}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain while it ends
        sys.exit(1)


def _as_it_was(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write the bytes of a file's name as they are, and what else the encoding of standard output lacks escaped."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def _open_closed_streams() -> None:
    """Let standard streams that were closed, as by `>&-`, lead nowhere, by the numbers that others expect them at."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # each gets the least number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115  until the process ends


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in PICTURE_SUFFIXES and not name.startswith(".")
