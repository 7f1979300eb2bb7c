"""The whole job: train, calibrate, export, evaluate the exported model, report."""

from __future__ import annotations

import logging
import platform
from dataclasses import asdict
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from app.classifier import SavedModel
from app.model_card import (
    CARD_NAME,
    IMAGE_SHAPE,
    GoldenExample,
    ModelCard,
    NetworkFacts,
    SharpeningFacts,
    TrainingFacts,
    file_digests,
)
from training.atomic import replacing
from training.data import LABELS
from training.distillation import require_same_held_out, taught
from training.errors import TrainingError
from training.export import save_graph
from training.machine import machine
from training.network import build, mirrored, multiply_accumulates
from training.pictures.mixture import Mixture, prepare
from training.pictures.photos import Photo, require_classed, require_readable, split_photos
from training.report import write_report
from training.train import run_folder, train
from training.trust.calibrate import calibrate, uncalibrated
from training.trust.conformal import measure_sets
from training.trust.corruptions import CORRUPTIONS, measure_corruption
from training.trust.evaluate import evaluate, measure_calibration
from training.trust.familiarity import fit_head, measure_familiarity, with_familiarity
from training.trust.photo_metrics import answer_photos, measure_photos
from training.weights import load_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from training.config import TrainingConfig
    from training.data import Data, Split
    from training.distillation import Teacher
    from training.train import Epoch

logger = logging.getLogger(__name__)


def train_and_export(  # noqa: PLR0913, PLR0917  one more than five, each a thing of its own
    config: TrainingConfig,
    data: Data,
    runs: Path,
    artifact: Path,
    photos: Sequence[Photo] = (),
    teachers: Sequence[Teacher] = (),
) -> ModelCard:
    """Train a model from a config and data, and write it as an artifact with a report beside it.

    Args:
        config: What to train.
        data: The data set to train, validate and test on.
        runs: Folder for what is kept between starts: checkpoints, converted photographs, teachers' answers.
        artifact: Folder to write or replace, `.../NAME/VERSION`. The report goes to `.../NAME/report-VERSION`.
        photos: Photographs to learn from and evaluate on as well, if the config says so.
        teachers: Models whose answers to learn from, if the config says so.

    Returns:
        The card that was written.
    """
    _require_place(artifact)
    facts = network_facts(build(config), views=1 + config.mirror)
    require_same_held_out(teachers, config, data, photos)
    if config.distillation and config.distillation.continued and teachers[0].folder:
        load_weights(build(config), teachers[0].folder)  # refuses another network before hours of preparation
    learnt, held_out, mixture = list[Photo](), list[Photo](), None
    if config.photos:
        learnt, held_out = split_photos(photos, config.photos.held_out_share, config.split_seed)
        require_classed(learnt, held_out)
        require_readable(photos)
        mixture = prepare(config.photos, config.split_seed, data.train.images, learnt, runs)
    if config.distillation:
        mixture = taught(mixture or Mixture.of_nothing(), teachers, config.distillation, data.train, runs)
    run = run_folder(runs, config, data, mixture)
    logger.info(
        "%s: %s parameters, %.1f million multiply-accumulates an image; checkpoints in %s",
        *(facts.name, f"{facts.parameters:,}", facts.multiply_accumulates / 1e6, run),
    )
    network, history = train(config, data, run, mixture=mixture)
    answering = _answering(network, config, data, mixture)
    with replacing(artifact) as staging:
        calibration = calibrate(answering, config.label_smoothing, data.validation)
        save_graph(answering, calibration, staging)
        exported = SavedModel(staging)
        evaluations = {
            "validation": evaluate(exported.classify, data.validation),
            "test": evaluate(exported.classify, data.test),
        }
        before = uncalibrated(answering, data.test.images)
        answered = answer_photos(exported.classify, held_out) if config.photos else None
        card = ModelCard(
            name=artifact.parent.name,
            version=artifact.name,
            labels=LABELS,
            input_shape=IMAGE_SHAPE,
            files=file_digests(staging),
            network=facts,
            metrics={name: evaluation.metrics for name, evaluation in evaluations.items()},
            uncalibrated=measure_calibration(before, data.test.class_ids),
            corruptions={kind: measure_corruption(exported.classify, data.test, kind) for kind in CORRUPTIONS},
            photos=measure_photos(answered, learnt) if answered else None,
            sharpening=SharpeningFacts(**asdict(calibration.sharpening)),
            prediction_sets=tuple(
                measure_sets(coverage, threshold, evaluations["test"], answered)
                for coverage, threshold in calibration.thresholds.items()
            ),
            familiarity=measure_familiarity(exported.classify, evaluations, answered),
            training=_training_facts(config, history, data),
            golden_set=_golden_set(exported, data.validation),
        )
        card.write(staging)
    report = artifact.parent / f"report-{artifact.name}"
    write_report(report, card, history, evaluations["test"], before)
    for name, split in card.metrics.items():
        logger.info("%s: %.2f %% of %d right", name, 100 * split.accuracy, split.n)
    if card.photos:
        logger.info("photographs: %.2f %% of %d right", 100 * card.photos.accuracy, card.photos.held_out)
    logger.info("wrote %s and %s", artifact, report)
    return card


def _require_place(artifact: Path) -> None:
    """Refuse, before hours of training, to replace anything but an artifact.

    Raises:
        TrainingError: The path holds something else, or has no model name above its version.
    """
    is_free = not artifact.exists() or (artifact.is_dir() and not any(artifact.iterdir()))
    if not artifact.parent.name or not (is_free or (artifact / CARD_NAME).is_file()):
        msg = f"{artifact}: expected a folder NAME/VERSION that is new, empty or an artifact, found another"
        raise TrainingError(msg)


def network_facts(network: keras.Model, views: int = 1) -> NetworkFacts:
    """Measure a network's size, and its cost for the given number of views per image."""
    return NetworkFacts(
        name=network.name,
        parameters=network.count_params(),
        multiply_accumulates=views * multiply_accumulates(network),
    )


def _answering(network: keras.Model, config: TrainingConfig, data: Data, mixture: Mixture | None) -> keras.Model:
    """Return the network to export: it also scores how familiar an image is, and may look at the mirror image."""
    none = np.empty((0, *IMAGE_SHAPE), np.uint8)
    photos, unfamiliar = mixture.examples if mixture else (none, none)
    head = fit_head(network, data.train.images, photos, unfamiliar, config)
    answering = with_familiarity(network, head)
    return mirrored(answering) if config.mirror else answering


def _golden_set(exported: SavedModel, split: Split) -> tuple[GoldenExample, ...]:
    """Take the first validation image of each class."""
    firsts = [int(np.argmax(split.class_ids == class_id)) for class_id in range(len(LABELS))]
    images = split.images[firsts]
    return tuple(map(GoldenExample.of, images, *exported.classify(images)))


def _training_facts(config: TrainingConfig, history: list[Epoch], data: Data) -> TrainingFacts:
    return TrainingFacts(
        config=config.as_dict(),
        epochs=len(history),
        minutes=round(sum(epoch.seconds for epoch in history) / 60, 1),
        machine=machine(),
        versions={
            "python": platform.python_version(),
            "keras": keras.__version__,
            "numpy": np.__version__,
            "tensorflow": tf.__version__,
        },
        data_digests=dict(data.digests),
    )
