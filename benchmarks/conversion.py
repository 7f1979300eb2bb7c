"""`python -m benchmarks.conversion PHOTO`: how long does one thread take to prepare a picture for the model?"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from app.imaging.native import read_native
from app.imaging.recognition import evidence_in
from training.command import positive
from training.data import LABELS
from training.machine import machine
from training.markdown import table
from training.pictures.upload import convert_upload, encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = {"400x533 JPEG": (400, 533), "12-megapixel JPEG": (3024, 4032)}
MOST_MILLISECONDS = {"28x28 PNG": 0.15, "400x533 JPEG": 8.0, "12-megapixel JPEG": 25.0}
"""Promised upper bound of the median on one core of a current server."""


def main() -> None:
    """Print the table; exit with 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conversion", description=__doc__)
    parser.add_argument("photo", type=Path, metavar="PHOTO", help="a photograph, scaled to each of the sizes")
    parser.add_argument(
        "--rounds", type=positive, default=50, metavar="N", help="how often each is timed (default: 50)"
    )
    given = parser.parse_args()
    try:
        with Image.open(given.photo) as photo:
            files = dict(pictures(photo.convert("RGB")))
    except OSError as error:
        parser.error(str(error))
    times = measure(files, given.rounds)
    print(f"{given.rounds} rounds, one thread on {machine()}\n")
    rows = [(name, f"{median:.3f}", MOST_MILLISECONDS[name], f"{slow:.3f}") for name, (median, slow) in times.items()]
    print(
        table(("milliseconds to decode, convert and recognise in colour", "median", "at most", "95th percentile"), rows)
    )
    sys.exit(bool(missed(times)))


def pictures(photo: Image.Image) -> Iterator[tuple[str, bytes]]:
    """Yield names and files: a native PNG, and the photograph as a JPEG of quality 90 in each of `SIZES`."""
    yield "28x28 PNG", encoded(photo.convert("L").resize((28, 28)))
    for name, size in SIZES.items():
        yield name, encoded(photo.resize(size, Image.Resampling.BICUBIC), "JPEG", quality=90)


def measure(files: dict[str, bytes], rounds: int) -> dict[str, tuple[float, float]]:
    """Return the median and the 95th percentile for each picture, in milliseconds."""
    seconds = np.array([[_seconds(data) for _ in range(rounds)] for data in files.values()])
    median, slow = (1000 * np.percentile(seconds, (50, 95), axis=1)).tolist()
    return dict(zip(files, zip(median, slow, strict=True), strict=True))


def missed(times: dict[str, tuple[float, float]]) -> list[str]:
    """Return the names of the pictures whose median exceeds the promise."""
    return [name for name, (median, _) in times.items() if median > MOST_MILLISECONDS[name]]


def _seconds(data: bytes) -> float:
    started = time.perf_counter()
    if read_native(data) is None:
        evidence_in(convert_upload(data).colours, LABELS)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
