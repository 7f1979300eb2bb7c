"""The whole job: distort photographs, train the network on them, write the file that the service reads."""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.imaging.recognition import Recogniser
from training.errors import DataError
from training.machine import machine
from training.onnx_file import export
from training.parallel import on_all_cores
from training.photos import (
    CLASSES_OF,
    allowed_of,
    decode_photo,
    require_classed,
    require_readable,
    split_photos,
    targets_of,
)
from training.recogniser.evidence import complete
from training.recogniser.lessons import lessons_of
from training.recogniser.quantisation import quantise
from training.recogniser.train import train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.photos import Photo
    from training.recogniser.config import RecogniserConfig

CALIBRATED_BY = 200
"""Number of photographs that decide the ranges of the 8-bit values."""

logger = logging.getLogger(__name__)


def train_and_write(config: RecogniserConfig, photos: Sequence[Photo], output: Path) -> float:
    """Train a recogniser on photographs and write it.

    Args:
        config: How to train.
        photos: Photographs of any folder. Those without a class are ignored, and a share of the others is held out.
        output: The ONNX file to write.

    Returns:
        The share of the held-out photographs whose label with the most evidence is one of their folder's.

    Raises:
        DataError: No photograph is learnt from, none is held out, all are of one kind, or one cannot be read.
    """
    learnt, held_out = (
        [photo for photo in side if CLASSES_OF[photo.folder]]
        for side in split_photos(photos, config.held_out_share, config.split_seed)
    )
    require_classed(learnt, held_out)
    require_readable([*learnt, *held_out])
    if len({photo.labels for photo in learnt}) == 1:
        msg = f"expected photographs of several kinds to tell apart, received {learnt[0].folder} alone"
        raise DataError(msg)
    show = partial(lessons_of, others=learnt, ways=config.ways, seed=config.seed)
    lessons = np.stack(on_all_cores(show, learnt, "photographs"))
    network = train(config, lessons, targets_of(learnt))
    output.parent.mkdir(parents=True, exist_ok=True)
    whole = output.with_suffix(".partial")
    facts = {"config": json.dumps(asdict(config)), "photographs": str(len(learnt)), "machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        real, quantised = (Path(folder) / name for name in ("real.onnx", "quantised.onnx"))
        export(network, real)
        rng = np.random.default_rng(config.seed)
        quantise(Recogniser(real), lessons[rng.permutation(len(lessons))[:CALIBRATED_BY], 1], quantised)
        complete(quantised, targets_of(learnt).mean(axis=0), config.sharpness, whole, facts)
    whole.replace(output)
    logger.info("wrote %s", output)
    right = _right(Recogniser(output), held_out)
    logger.info("%d of %d photographs held out are right by this network alone", right.sum(), len(right))
    return float(right.mean())


def _right(recogniser: Recogniser, photos: Sequence[Photo]) -> NDArray[np.bool_]:
    """Return whether each photograph's label with the most evidence is one of its folder's, `[n]`."""
    named = [recogniser.look_at(np.asarray(decode_photo(photo).convert("RGB"))).argmax() for photo in photos]
    return np.asarray(allowed_of(photos)[np.arange(len(named)), named] > 0)
