"""`python -m training`: parses the command line and runs the job."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from training.config import DEFAULTS, DistillationConfig, PhotoConfig, native_precision
from training.errors import TrainingError
from training.photos import list_photos

if TYPE_CHECKING:
    from collections.abc import Sequence

ARTIFACTS = {
    "cnn": Path("models/fashion-mnist/1"),
    "mlp": Path("models/fashion-mnist-mlp/1"),
    "tiny": Path("models/fashion-mnist-tiny/1"),
}
RUNS = Path("runs")


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(
        prog="python -m training",
        description="Train a network on Fashion-MNIST and export it as an artifact. A run that was stopped goes on.",
        epilog="What is not given comes from the network's defaults in training/config.py.",
    )
    made.add_argument("--network", choices=sorted(DEFAULTS), default="cnn", help="what to train (default: cnn)")
    made.add_argument("--epochs", type=positive, metavar="N", help="passes over the training split")
    made.add_argument("--seed", type=natural, metavar="N", help="seeds the weights and the augmentation")
    made.add_argument(
        "--precision",
        choices=["float32", "mixed_bfloat16"],
        help="arithmetic while training (default: mixed_bfloat16 where the processor has it built in, but for the mlp)",
    )
    made.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="the four IDX files (default: Debian's package, else a cache, else a download)",
    )
    made.add_argument(
        "--photos",
        type=Path,
        metavar="FOLDER",
        help="photographs to learn from as well, in folders named as in training/photos.py (default: none)",
    )
    made.add_argument(
        "--teacher",
        type=Path,
        action="append",
        default=[],
        metavar="ARTIFACT",
        help="an artifact whose answers to learn from, as often as there are teachers (default: none)",
    )
    made.add_argument(
        "--continue",
        dest="continued",
        action="store_true",
        help="begin with the weights of the first teacher, which is of the same network (default: afresh)",
    )
    made.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="the artifact to write, NAME/VERSION (default: "
        + ", ".join(f"{path} for {name}" for name, path in ARTIFACTS.items())
        + ")",
    )
    made.add_argument("--runs", type=Path, default=RUNS, metavar="FOLDER", help="checkpoints (default: runs)")
    return made


def natural(text: str, least: int = 0) -> int:
    """Parse an integer of at least `least`; `argparse` turns a `ValueError` into a message with the text received."""
    if (number := int(text)) < least:
        raise ValueError
    return number


def positive(text: str) -> int:
    """Parse an integer of 1 or more."""
    return natural(text, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job and return the process's exit code."""
    command = parser()
    given = command.parse_args(arguments)
    if given.continued and not given.teacher:
        command.error("--continue expects a --teacher whose weights to begin with")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("tensorflow").setLevel(logging.WARNING)  # it would log folders that are gone when the job ends
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read by TensorFlow when it is first imported
    precision = given.precision or (native_precision() if given.network != "mlp" else None)
    config = DEFAULTS[given.network].override(
        epochs=given.epochs,
        seed=given.seed,
        precision=precision,
        photos=PhotoConfig() if given.photos else None,
    )
    output = given.output or ARTIFACTS[given.network]
    try:
        from training import data, distillation, job  # noqa: PLC0415  they import TensorFlow: not for --help

        teachers = [distillation.read_teacher(folder) for folder in given.teacher]
        if teachers:
            graphs = tuple(teacher.digest for teacher in teachers)
            distillation_config = DistillationConfig(graphs, continued=given.continued)
            config = config.override(label_smoothing=0.0, distillation=distillation_config)

        photos = list_photos(given.photos) if given.photos else []
        fashion_mnist = data.load(data.find_folder(given.data), config.split_seed)
        job.train_and_export(config, fashion_mnist, given.runs, output, photos, teachers)
    except (TrainingError, OSError) as error:
        print(f"training: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "training: stopped; the same command goes on after the last whole epoch or step of the preparation",
            file=sys.stderr,
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
