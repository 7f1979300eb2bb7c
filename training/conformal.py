"""Fits how improbable a label may be and still belong to the prediction set, and measures what that gives."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from app.model_card import PredictionSetFacts
from training.data import LABELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.evaluate import Evaluation
    from training.photo_metrics import AnsweredPhotos

COVERAGES = (0.9, 0.95, 0.99)
"""How often a prediction set can be asked to hold the true label."""


def fit_threshold(probabilities: NDArray[np.float32], class_ids: NDArray[np.uint8], coverage: float) -> float:
    """Find the probability from which on a label belongs to the set, beside the most probable label, which always does.

    Args:
        probabilities: float32 `[n, 10]` of images that the network was not fitted to.
        class_ids: uint8 `[n]`, the true labels.
        coverage: How often at least, on images like these, the set is to hold the true label.

    Returns:
        From 0 to 1.

    Source:
        Sadinle, Lei and Wasserman, "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels" (JASA 2019), by
        split-conformal prediction: Vovk et al., "Algorithmic Learning in a Random World" (2005).
    """
    n = len(class_ids)
    true = probabilities[np.arange(n), class_ids]
    # The set must reach down to this to hold the true label; the most probable one is held by any set.
    needed = np.where(probabilities.argmax(axis=1) == class_ids, 1.0, true)
    rank = math.ceil((n + 1) * coverage)
    return float(np.sort(needed)[::-1][rank - 1]) if rank <= n else 0.0


def prediction_sets(probabilities: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Say which labels belong to the set of each image, bool `[n, 10]`."""
    most = probabilities.argmax(axis=1)
    return np.asarray((probabilities >= threshold) | (np.arange(probabilities.shape[1]) == most[:, None]))


def measure_sets(
    coverage: float, threshold: float, test: Evaluation, photos: AnsweredPhotos | None
) -> PredictionSetFacts:
    """Measure the prediction sets of the test split and of photographs held out."""
    sets = prediction_sets(test.answers.probabilities, threshold)
    covered = sets[np.arange(len(sets)), test.split.class_ids]
    by_class = {
        LABELS[class_id]: float(covered[test.split.class_ids == class_id].mean())
        for class_id in np.unique(test.split.class_ids)
    }
    worst = min(by_class, key=by_class.__getitem__)
    facts = PredictionSetFacts(
        coverage=coverage,
        threshold=threshold,
        test_coverage=float(covered.mean()),
        test_mean_size=float(sets.sum(axis=1).mean()),
        test_worst_class=worst,
        test_worst_class_coverage=by_class[worst],
    )
    return measure_photo_sets(facts, photos) if photos else facts


def measure_photo_sets(facts: PredictionSetFacts, photos: AnsweredPhotos) -> PredictionSetFacts:
    """Return the facts with what prediction sets of photographs held out are like."""
    sets = prediction_sets(photos.probabilities, facts.threshold)
    measured = {
        "photos_coverage": float(photos.covered(sets).mean()),
        "photos_mean_size": float(sets.sum(axis=1).mean()),
    }
    return facts.model_copy(update=measured)
