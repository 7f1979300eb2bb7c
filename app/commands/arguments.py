"""The arguments of the commands that classify pictures, and the search for the pictures that these name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from app.schemas import Conversion

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Sequence

STANDARD_INPUT = "-"

PICTURE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif")
)
"""Suffixes of pictures in a folder. The last three are not supported, but refused with advice rather than skipped."""


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
    """Return files as they were named, and for each folder its pictures sorted by name, without hidden ones.

    A folder that cannot be read is returned in place of its pictures: reading it as a file raises the same error.

    Raises:
        SystemExit: There are no pictures, or one is an address, which the parser reports as a usage error.
    """
    found: list[str] = []
    for argument in arguments:
        if argument.startswith(("http://", "https://")):
            parser.error(f"expected a file, found an address: download {argument} first")
        if not os.path.isdir(argument):  # noqa: PTH112  a Path raises where a name is too long
            found.append(argument)
            continue
        for folder, folders, files in os.walk(argument, onerror=lambda error: found.append(error.filename)):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found.extend(os.path.join(folder, name) for name in sorted(files) if _is_picture(name))  # noqa: PTH118  keeps ./
    if not found:
        parser.error(f"expected pictures, found none in {', '.join(arguments)}")
    return found


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in PICTURE_SUFFIXES and not name.startswith(".")
