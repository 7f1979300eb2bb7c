"""Fits the least probability at which a label joins the prediction set, and measures the resulting sets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from app.imaging.recognition import weigh
from app.model_card import PredictionSetFacts
from training.data import LABELS
from training.trust.photo_temperature import folds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.trust.evaluate import Evaluation
    from training.trust.photo_metrics import AnsweredPhotos

COVERAGES = (0.9, 0.95, 0.99)
"""The coverages that can be asked of a prediction set: how often it contains the true label."""


def fit_threshold(probabilities: NDArray[np.float32], right: NDArray[np.bool_], coverage: float) -> float:
    """Find the least probability at which a label joins the set, which always contains the most probable label.

    Args:
        probabilities: float32 `[n, 10]` of images that the network was not fitted to.
        right: bool `[n, 10]`, which labels are right; at least one per image.
        coverage: How often, at least, the set has to contain a right label on images like these.

    Returns:
        The threshold, 0 to 1.

    Source:
        Sadinle, Lei and Wasserman, "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels" (JASA 2019), by
        split-conformal prediction: Vovk et al., "Algorithmic Learning in a Random World" (2005).
    """
    n = len(probabilities)
    # Highest threshold at which each set contains a right label; every set contains the most probable one.
    needed = np.where(right[np.arange(n), probabilities.argmax(axis=1)], 1.0, (probabilities * right).max(axis=1))
    rank = math.ceil((n + 1) * coverage)
    return float(np.sort(needed)[::-1][rank - 1]) if rank <= n else 0.0


def prediction_sets(probabilities: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Return which labels belong to the set of each image, bool `[n, 10]`."""
    most = probabilities.argmax(axis=1)
    return np.asarray((probabilities >= threshold) | (np.arange(probabilities.shape[1]) == most[:, None]))


def measure_sets(
    coverage: float, threshold: float, test: Evaluation, photos: AnsweredPhotos | None
) -> PredictionSetFacts:
    """Measure the prediction sets of the test split and of held-out photographs."""
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
    """Return the facts with a threshold fitted to held-out photographs, and with the coverage and size of their sets.

    Each fifth is measured at the temperature and the threshold fitted to the others. Photographs that were not looked
    at in colour are measured at `facts.threshold`.
    """
    alone, right, seen = photos.of_known.probabilities, photos.right_labels, photos.seen
    sets = prediction_sets(photos.probabilities, facts.threshold)
    for here, weighed in folds(alone, photos.evidence, right.astype(np.float32)):
        threshold = fit_threshold(weighed[seen & ~here], right[seen & ~here], facts.coverage)
        sets[seen & here] = prediction_sets(weighed[seen & here], threshold)
    served = weigh(alone, photos.evidence, photos.temperature)
    of_all = fit_threshold(served[seen], right[seen], facts.coverage) if seen.any() else None
    measured = {
        "photos_threshold": of_all,
        "photos_coverage": float((sets & right).any(axis=1).mean()),
        "photos_mean_size": float(sets.sum(axis=1).mean()),
    }
    return facts.model_copy(update=measured)
