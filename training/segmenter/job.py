"""The whole job: two rounds of training, a measurement, and the file that the service reads."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import keras
import numpy as np
import tensorflow as tf

from app.imaging.segmentation import SIDE, Segmenter, separate
from training.cache import cached
from training.errors import DataError, TrainingError
from training.fingerprint import CONVERSION, code, fingerprint
from training.machine import machine
from training.parallel import on_all_cores
from training.pictures.photos import digest_of, split_photos
from training.segmenter.grabcut import separate as cut_by_colours
from training.segmenter.lessons import Lessons, teach
from training.segmenter.network import export
from training.segmenter.scenes import Studio
from training.segmenter.train import train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.pictures.photos import Photo
    from training.segmenter.config import SegmenterConfig
    from training.segmenter.lessons import Cut

CODE = (
    *CONVERSION,
    *sorted(Path(__file__).parent.glob("*.py")),
    *code("config.py", "train.py", "network.py"),
    *code("pictures/distortion.py", "pictures/photos.py", "pictures/upload.py"),
    f"keras {keras.__version__}",
    f"tensorflow {tf.__version__}",
)
"""What a run depends on besides config, images and photographs."""

logger = logging.getLogger(__name__)


def train_and_write(
    config: SegmenterConfig, images: NDArray[np.uint8], photos: Sequence[Photo], runs: Path, output: Path
) -> float:
    """Train a segmenter on photographs and images of the data set, and write it.

    Args:
        config: How to train.
        images: uint8 `[n, 28, 28]`, the training split.
        photos: Photographs of any folder; a share of them is held out.
        runs: Folder for intermediate results.
        output: The ONNX file to write.

    Returns:
        The mean overlap (intersection over union) with the cuts by colours of the held-out photographs on which several
        cuts agree.

    Raises:
        DataError: No photograph is learnt from, or none is held out.
        TrainingError: No photograph is clear enough among those to learn from or among those held out.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    learnt, held_out = split_photos(photos, config.held_out_share, config.split_seed)
    if not learnt or not held_out:
        msg = f"expected photographs to learn from and others to hold out, received {len(learnt)} and {len(held_out)}"
        raise DataError(msg)
    run = run_folder(runs, config, images, photos)
    run.mkdir(parents=True, exist_ok=True)
    seen = _lessons(held_out, cut_by_colours, config.seed, run / "held-out.npz").unambiguous(config.ambiguity)
    if not len(seen.colours):
        msg = f"expected photographs held out on which the cuts by colours agree, received none of {len(held_out)}"
        raise TrainingError(msg)
    _round(1, config, images, learnt, run)
    _round(2, config, images, learnt, run)
    segmenter = Segmenter(run / "round-2.onnx")
    overlaps = _overlaps(segmenter, seen)
    logger.info(
        "%d of %d photographs held out, where the cuts by colours agree: overlap %.3f, median %.3f",
        *(len(overlaps), len(held_out), overlaps.mean(), np.median(overlaps)),
    )
    whole = output.with_suffix(".partial")
    whole.write_bytes(segmenter.path.read_bytes())
    whole.replace(output)
    logger.info("wrote %s", output)
    return float(overlaps.mean())


def run_folder(runs: Path, config: SegmenterConfig, images: NDArray[np.uint8], photos: Sequence[Photo]) -> Path:
    """Return the folder for a run's intermediate results, which differs when anything that shapes its network does."""
    return runs / f"segmenter-{fingerprint(config, images, digest_of(photos), *CODE)}"


def _round(number: int, config: SegmenterConfig, images: NDArray[np.uint8], photos: Sequence[Photo], run: Path) -> None:
    """Train and write a round's network, unless an earlier start has done so.

    The first round learns from cuts by colours. The second continues with the garments that the first round's network
    finds, including some that cuts by colours never get.
    """
    path, before = (run / f"round-{which}.onnx" for which in (number, number - 1))
    if path.exists():
        return
    first = number == 1
    cut = cut_by_colours if first else partial(separate, segmenter=Segmenter(before))
    lessons = _lessons(photos, cut, config.seed, path.with_suffix(".npz")).unambiguous(config.ambiguity)
    clear = len(lessons.colours)
    logger.info("round %d: %d of %d photographs are clear enough to learn from", number, clear, len(photos))
    if not clear:
        msg = (
            f"expected photographs on which several attempts to find the garment agree, received none of {len(photos)}"
        )
        raise TrainingError(msg)
    trained = train(config, Studio(lessons, images), None if first else before.with_suffix(".weights.h5"))
    trained.save_weights(path.with_suffix(".weights.h5"), overwrite=True)
    facts = {"config": json.dumps(asdict(config)), "photographs": str(clear), "machine": machine()}
    whole = path.with_name("partial.onnx")
    export(trained, whole, facts)
    whole.replace(path)


def _lessons(photos: Sequence[Photo], cut: Cut, seed: int, cache: Path) -> Lessons:
    """Make a lesson of each photograph, or read those that an earlier start has made."""

    def make() -> dict[str, np.ndarray]:
        colours, garments = zip(*on_all_cores(partial(teach, cut=cut, seed=seed), photos, "photographs"), strict=True)
        return {"colours": np.stack(colours), "garments": np.stack(garments)}

    return Lessons(**cached(cache, make))


def _overlaps(segmenter: Segmenter, lessons: Lessons) -> NDArray[np.float64]:
    """Compare the garment that the network finds with each lesson's: intersection over union, float64 `[n]`."""
    overlaps = []
    for colours, garment in zip(lessons.colours, lessons.garments, strict=True):
        found = separate(colours, segmenter)
        inside = np.zeros((SIDE, SIDE), bool) if found is None else found > 0.5  # noqa: PLR2004
        expected = cv2.resize(garment, (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 127  # noqa: PLR2004  of 255
        overlaps.append((inside & expected).sum() / (inside | expected).sum())
    return np.array(overlaps)
