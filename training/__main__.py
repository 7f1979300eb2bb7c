"""`python -m training`: parses the command line and runs the job."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from training.command import RUNS, natural, positive, run
from training.config import DEFAULTS, DistillationConfig, PhotoConfig, native_precision
from training.pictures.photos import list_photos

if TYPE_CHECKING:
    from collections.abc import Sequence

ARTIFACTS = {
    "cnn": Path("models/fashion-mnist/1"),
    "mlp": Path("models/fashion-mnist-mlp/1"),
    "tiny": Path("models/fashion-mnist-tiny/1"),
}


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
        help="photographs to learn from as well, in folders named as in training/pictures/photos.py (default: none)",
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job and return the process's exit code."""
    command = parser()
    given = command.parse_args(arguments)
    if given.continued and not given.teacher:
        command.error("--continue expects a --teacher whose weights to begin with")
    precision = given.precision or (native_precision() if given.network != "mlp" else None)
    config = DEFAULTS[given.network].override(
        epochs=given.epochs,
        seed=given.seed,
        precision=precision,
        photos=PhotoConfig() if given.photos else None,
    )

    def work() -> None:
        from training import data, distillation, job  # noqa: PLC0415  they import TensorFlow: not for --help

        teachers = [distillation.read_teacher(folder) for folder in given.teacher]
        taught = config
        if teachers:
            graphs = tuple(teacher.digest for teacher in teachers)
            distillation_config = DistillationConfig(graphs, continued=given.continued)
            taught = config.override(label_smoothing=0.0, distillation=distillation_config)
        photos = list_photos(given.photos) if given.photos else []
        fashion_mnist = data.load(data.find_folder(given.data), taught.split_seed)
        output = given.output or ARTIFACTS[given.network]
        job.train_and_export(taught, fashion_mnist, given.runs, output, photos, teachers)

    return run(work, "the same command goes on after the last whole epoch or step of the preparation")


if __name__ == "__main__":
    sys.exit(main())
