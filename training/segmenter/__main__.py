"""`python -m training.segmenter`: trains the network that separates a garment from its background."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.imaging.segmentation import SEGMENTER
from training import data
from training.command import RUNS, positive, run
from training.pictures.photos import list_photos
from training.segmenter.config import SegmenterConfig

if TYPE_CHECKING:
    from collections.abc import Sequence


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(
        prog="python -m training.segmenter",
        description="Train the network that tells a garment from its ground. A run that was stopped goes on after its "
        "last whole phase. Afterwards python -m training.recogniser has to train the colour network again, and then "
        "python -m training the classifier: both learn from what it finds.",
    )
    made.add_argument("--photos", type=Path, required=True, metavar="FOLDER", help="as for python -m training")
    made.add_argument("--data", type=Path, metavar="FOLDER", help="likewise")
    made.add_argument(
        "--steps", type=positive, default=SegmenterConfig().steps, metavar="N", help="batches of each round"
    )
    made.add_argument(
        "--output", type=Path, default=SEGMENTER.path, metavar="FILE", help=f"(default: {SEGMENTER.path.name})"
    )
    made.add_argument("--runs", type=Path, default=RUNS, metavar="FOLDER", help="what is between (default: runs)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job and return the process's exit code."""
    given = parser().parse_args(arguments)
    config = SegmenterConfig(steps=given.steps)

    def work() -> None:
        from training.segmenter import job  # noqa: PLC0415  it imports TensorFlow: not for --help

        images = data.load(data.find_folder(given.data), config.split_seed).train.images
        job.train_and_write(config, images, list_photos(given.photos), given.runs, given.output)

    return run(work, "the same command goes on after the last whole phase")


if __name__ == "__main__":
    sys.exit(main())
