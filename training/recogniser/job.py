"""The whole job: compute features of photographs, fit a last layer, write the file that the service reads."""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from app.imaging.recognition import Recogniser
from app.imaging.segmentation import SEGMENTER
from training.errors import DataError
from training.machine import machine
from training.parallel import on_all_cores
from training.pictures.photos import (
    CLASSES_OF,
    allowed_of,
    decode_photo,
    require_classed,
    require_readable,
    split_photos,
    targets_of,
)
from training.recogniser.lessons import lessons_of
from training.recogniser.network import Backbone, Head, complete, export, published_weights
from training.recogniser.quantisation import quantise
from training.trust.photo_metrics import fits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from training.pictures.photos import Photo
    from training.recogniser.config import RecogniserConfig

ROUNDS = 500
"""Limit on the steps of the fit, which takes about two hundred."""

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
    with tempfile.TemporaryDirectory() as folder:
        real, backbone = (Backbone(Path(folder) / name) for name in ("real.onnx", "backbone.onnx"))
        export(published_weights(), real.path)
        quantise(real, _calibration(learnt, config), backbone.path)
        look = partial(_features, backbone=backbone, others=learnt, config=config)
        features = np.stack(on_all_cores(look, learnt, "photographs"))
        head = fit(features, targets_of(learnt), config.decay)
        output.parent.mkdir(parents=True, exist_ok=True)
        whole = output.with_suffix(".partial")
        facts = {
            "config": json.dumps(asdict(config)),
            "photographs": str(len(learnt)),
            "segmenter": SEGMENTER.digest,
            "machine": machine(),
        }
        complete(backbone.path, head, whole, facts)
    whole.replace(output)
    logger.info("wrote %s", output)
    right = _right(Recogniser(output), held_out)
    logger.info("%d of %d photographs held out are right by this network alone", right.sum(), len(right))
    return float(right.mean())


def fit(features: NDArray[np.float32], targets: NDArray[np.float32], decay: float) -> Head:
    """Fit the last layer by multinomial logistic regression.

    Args:
        features: float32 `[n, ways, k]`.
        targets: float32 `[n, 10]`, the right labels of each photograph, each row summing to 1.
        decay: Factor of the sum of the squared weights in the loss, for features of unit variance.
    """
    flat = features.reshape(-1, features.shape[-1])
    scale = StandardScaler().fit(flat)
    which, labels = np.nonzero(np.repeat(targets, features.shape[1], axis=0))
    shares = np.repeat(targets, features.shape[1], axis=0)[which, labels]
    # scikit-learn weighs the sum of all losses against half the sum of the squared weights.
    fitted = LogisticRegression(C=1 / (2 * decay * len(flat)), max_iter=ROUNDS)
    fitted.fit(scale.transform(flat)[which], labels, shares)
    two = len(fitted.classes_) == 2  # noqa: PLR2004  then scikit-learn has one row for both
    rows, offsets = (np.concatenate([0 * part, part]) if two else part for part in (fitted.coef_, fitted.intercept_))
    kernel, bias = np.zeros((flat.shape[1], targets.shape[1])), np.full(targets.shape[1], -np.inf)
    kernel[:, fitted.classes_] = rows.T / scale.scale_[:, None]
    bias[fitted.classes_] = offsets - scale.mean_ @ kernel[:, fitted.classes_]
    bias[np.isinf(bias)] = bias.min(where=np.isfinite(bias), initial=0) - 100  # a label never seen is never named
    return Head(kernel.astype(np.float32), bias.astype(np.float32), targets.mean(axis=0))


def _calibration(photos: Sequence[Photo], config: RecogniserConfig) -> Iterator[NDArray[np.uint8]]:
    """Yield one distorted version of each of some photographs."""
    rng = np.random.default_rng(config.seed)
    for which in rng.permutation(len(photos))[:CALIBRATED_BY]:
        yield lessons_of(photos[which], photos, 1, config.seed)[1]


def _features(
    photo: Photo, backbone: Backbone, others: Sequence[Photo], config: RecogniserConfig
) -> NDArray[np.float32]:
    """Return the features of all versions of a photograph, float32 `[1 + ways, k]`."""
    return np.stack([backbone.look_at(lesson) for lesson in lessons_of(photo, others, config.ways, config.seed)])


def _right(recogniser: Recogniser, photos: Sequence[Photo]) -> NDArray[np.bool_]:
    """Return whether each photograph's label with the most evidence is one of its folder's, `[n]`."""
    evidence = np.stack([recogniser.look_at(np.asarray(decode_photo(photo).convert("RGB"))) for photo in photos])
    return fits(evidence, allowed_of(photos))
