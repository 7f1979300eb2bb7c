"""`python -m training.recogniser`: trains the network that recognises garments in colour."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.imaging.recognition import RECOGNISER
from training.command import run
from training.pictures.photos import list_photos
from training.recogniser.config import RecogniserConfig

if TYPE_CHECKING:
    from collections.abc import Sequence


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(
        prog="python -m training.recogniser",
        description="Train the network that recognises garments on photographs in colour, in six minutes. A model "
        "that was measured with another one has to be measured again.",
    )
    made.add_argument("--photos", type=Path, required=True, metavar="FOLDER", help="as for python -m training")
    made.add_argument(
        "--output", type=Path, default=RECOGNISER.path, metavar="FILE", help=f"(default: {RECOGNISER.path.name})"
    )
    made.add_argument(
        "--measure", type=Path, metavar="ARTIFACT", help="only measure this model again, with the network that serves"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job and return the process's exit code."""
    given = parser().parse_args(arguments)

    def work() -> None:
        from training.recogniser import job, measure  # noqa: PLC0415  they import TensorFlow: not for --help

        photos = list_photos(given.photos)
        if given.measure:
            measure.measure_again(given.measure, photos)
        else:
            job.train_and_write(RecogniserConfig(), photos, given.output)

    return run(work, "nothing is kept")


if __name__ == "__main__":
    sys.exit(main())
