"""The whole job: train, calibrate, export, evaluate what was exported, report."""

from __future__ import annotations

import logging
import platform
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from app.classifier import SavedModel
from app.model_card import IMAGE_SHAPE, GoldenExample, ModelCard, NetworkFacts, TrainingFacts, file_digests
from training.atomic import replacing
from training.calibrate import fit_temperature
from training.data import LABELS
from training.evaluate import evaluate
from training.export import save_graph
from training.machine import machine
from training.mixture import prepare
from training.network import build, multiply_accumulates
from training.photos import measure_photos, split_photos
from training.report import write_report
from training.train import train

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from training.config import TrainingConfig
    from training.data import Data, Split
    from training.photos import Photo
    from training.train import Epoch

logger = logging.getLogger(__name__)


def train_and_export(
    config: TrainingConfig, data: Data, run: Path, artifact: Path, photos: Sequence[Photo] = ()
) -> ModelCard:
    """Make an artifact from a config and data, with a report beside it.

    Args:
        config: What to train.
        data: What to learn from, choose on and evaluate on.
        run: Folder for checkpoints, this config's own.
        artifact: Folder to write or replace, `.../NAME/VERSION`. The report goes to `.../NAME/report-VERSION`.
        photos: What to learn from and evaluate on besides, when the config says so.

    Returns:
        The card that was written.
    """
    facts = network_facts(build(config))
    logger.info(
        "%s: %s parameters, %.1f million multiply-accumulates an image; checkpoints in %s",
        *(facts.name, f"{facts.parameters:,}", facts.multiply_accumulates / 1e6, run),
    )
    learnt, held_out = split_photos(photos, config.photos.held_out_share, config.seed) if config.photos else ([], [])
    mixture = prepare(config.photos, config.seed, data.train.images, learnt, run) if config.photos else None
    network, history = train(config, data, run, mixture=mixture)
    logits = network.predict(data.validation.images, batch_size=500, verbose=0)
    temperature = fit_temperature(logits, data.validation.class_ids)
    with replacing(artifact) as staging:
        save_graph(network, temperature, staging)
        exported = SavedModel(staging)
        evaluations = {
            "validation": evaluate(exported.classify, data.validation),
            "test": evaluate(exported.classify, data.test),
        }
        card = ModelCard(
            name=artifact.parent.name,
            version=artifact.name,
            labels=LABELS,
            input_shape=IMAGE_SHAPE,
            files=file_digests(staging),
            network=facts,
            metrics={name: evaluation.metrics for name, evaluation in evaluations.items()},
            photos=measure_photos(exported.classify, learnt, held_out) if config.photos else None,
            temperature=temperature,
            thresholds={},
            training=_training_facts(config, history, data),
            golden_set=_golden_set(exported, data.validation),
        )
        card.write(staging)
    report = artifact.parent / f"report-{artifact.name}"
    write_report(report, card, history, evaluations["test"])
    for name, split in card.metrics.items():
        logger.info("%s: %.2f %% of %d right", name, 100 * split.accuracy, split.n)
    if card.photos:
        logger.info("photographs: %.2f %% of %d right", 100 * card.photos.accuracy, card.photos.held_out)
    logger.info("wrote %s and %s", artifact, report)
    return card


def network_facts(network: keras.Model) -> NetworkFacts:
    """Measure a network's size."""
    return NetworkFacts(
        name=network.name,
        parameters=network.count_params(),
        multiply_accumulates=multiply_accumulates(network),
    )


def _golden_set(exported: SavedModel, split: Split) -> tuple[GoldenExample, ...]:
    """Take the first validation image of each class."""
    firsts = [int(np.argmax(split.class_ids == class_id)) for class_id in range(len(LABELS))]
    images = split.images[firsts]
    return tuple(map(GoldenExample.of, images, exported.classify(images)))


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
