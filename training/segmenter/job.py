"""The whole job: two rounds of learning, a measurement, and the file that the service reads."""

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
from training.photos import digest_of, split_photos
from training.segmenter.grabcut import separate as cut_by_colours
from training.segmenter.lessons import Lessons, teach
from training.segmenter.network import export
from training.segmenter.scenes import Studio
from training.segmenter.train import train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.photos import Photo
    from training.segmenter.config import SegmenterConfig
    from training.segmenter.lessons import Cut

CODE = (
    *CONVERSION,
    *sorted(Path(__file__).parent.glob("*.py")),
    *code("config.py", "distortion.py", "photos.py", "upload.py", "train.py"),
    f"keras {keras.__version__}",
    f"tensorflow {tf.__version__}",
)
"""What decides, beside config, images and photographs, what a run finds and learns."""

logger = logging.getLogger(__name__)


def train_and_write(
    config: SegmenterConfig, images: NDArray[np.uint8], photos: Sequence[Photo], runs: Path, output: Path
) -> float:
    """Make a segmenter from photographs and images of the data set.

    Args:
        config: How.
        images: uint8 `[n, 28, 28]`, the training split.
        photos: Of any folder; a share of them is held out.
        runs: Folder for what is between.
        output: The ONNX file to write.

    Returns:
        The mean overlap, intersection over union, with the cuts by colours of the photographs held out, where several
        of these agree.

    Raises:
        DataError: No photograph is learnt from, or none held out.
        TrainingError: No photograph is clear enough, of those learnt from or of those held out.
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
    """Return where a run keeps what is between; whatever its network depends on makes it another run."""
    return runs / f"{config.run_name}-{fingerprint(images, digest_of(photos), *CODE)}"


def _round(number: int, config: SegmenterConfig, images: NDArray[np.uint8], photos: Sequence[Photo], run: Path) -> None:
    """Learn and write a network, unless an earlier start has.

    The first round learns from cuts by colours; the second goes on from there with what the first finds itself, where a
    cut by colours never gets the garment.
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
    """Make a lesson of each photograph, or read what an earlier start has made."""

    def make() -> dict[str, np.ndarray]:
        colours, garments = zip(*on_all_cores(partial(teach, cut=cut, seed=seed), photos, "photographs"), strict=True)
        return {"colours": np.stack(colours), "garments": np.stack(garments)}

    return Lessons(**cached(cache, make))


def _overlaps(segmenter: Segmenter, lessons: Lessons) -> NDArray[np.float64]:
    """Compare what the network sees in each lesson with it: intersection over union, float64 `[n]`."""
    overlaps = []
    for colours, garment in zip(lessons.colours, lessons.garments, strict=True):
        found = separate(colours, segmenter)
        inside = np.zeros((SIDE, SIDE), bool) if found is None else found > 0.5  # noqa: PLR2004
        expected = cv2.resize(garment, (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 127  # noqa: PLR2004  of 255
        overlaps.append((inside & expected).sum() / (inside | expected).sum())
    return np.array(overlaps)
