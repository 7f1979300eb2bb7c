"""Measures an existing model on photographs again, with the current recogniser."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from app.classifier import SavedModelClassifier
from app.imaging.segmentation import SEGMENTER
from training.errors import DataError
from training.page import page
from training.pictures.photos import digest_of, split_photos
from training.trust.conformal import measure_photo_sets
from training.trust.photo_metrics import answer_photos, measure_photos

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from training.pictures.photos import Photo

logger = logging.getLogger(__name__)


def measure_again(artifact: Path, photos: Sequence[Photo]) -> None:
    """Rewrite what a model's card and its page say about photographs.

    The model itself does not depend on the recogniser, so it need not be trained again.

    Args:
        artifact: A model that learnt from photographs.
        photos: The same photographs, both learnt from and held out.

    Raises:
        DataError: The model learnt from no photographs or from others.
        StartError: The model cannot be loaded, or learnt with another segmenter.
    """
    classifier = SavedModelClassifier(artifact)
    card = classifier.card
    if card.photos is None or card.photos.digest != digest_of(photos):
        msg = f"{artifact}: expected a model that learnt from these photographs, found one of others or of none"
        raise DataError(msg)
    SEGMENTER.require(card.segmenter)  # the model learnt from that segmenter's garments
    config = card.training.config
    learnt, held_out = split_photos(photos, config["photos"]["held_out_share"], config["split_seed"])
    answered = answer_photos(classifier.classify, held_out)
    measured = card.model_copy(
        update={
            "photos": measure_photos(answered, learnt),
            "prediction_sets": tuple(measure_photo_sets(one, answered) for one in card.prediction_sets),
        }
    )
    measured.write(artifact)
    report = artifact.parent / f"report-{artifact.name}" / "README.md"
    if report.exists():
        report.write_text(page(measured))
    logger.info("%s: %d of %d photographs right", artifact, answered.right.sum(), len(answered.known))
