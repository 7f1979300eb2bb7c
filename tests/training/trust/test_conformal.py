from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from app.classifier import Answers
from app.imaging.recognition import weigh
from training.data import Split, one_hot
from training.trust.conformal import fit_threshold, measure_photo_sets, measure_sets, prediction_sets
from training.trust.evaluate import Evaluation
from training.trust.photo_metrics import AnsweredPhotos
from training.trust.photo_temperature import FOLDS, cross_fitted, fit_temperature


def images_of(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw overconfident probabilities, `[n, 10]`, and which class is true, bool `[n, 10]`."""
    logits = rng.normal(0, 2, (n, 10))
    class_ids = np.array([rng.choice(10, p=row) for row in softmax(logits, axis=1)], np.uint8)
    return softmax(3 * logits, axis=1).astype(np.float32), one_hot(class_ids) > 0


@pytest.mark.parametrize("coverage", [0.9, 0.95, 0.99])
def test_sets_hold_the_true_label_as_often_as_asked_however_wrong_the_probabilities_are(coverage: float) -> None:
    rng = np.random.default_rng(0)
    threshold = fit_threshold(*images_of(rng, 5000), coverage)
    probabilities, right = images_of(rng, 20_000)
    covered = (prediction_sets(probabilities, threshold) & right).any(axis=1)
    assert covered.mean() == pytest.approx(coverage, abs=0.012)


def test_no_set_is_empty_and_a_sure_answer_stands_alone() -> None:
    sure, torn = np.full(10, 0.001), np.full(10, 0.02)
    sure[3], torn[[4, 6]] = 0.991, (0.44, 0.40)
    sets = prediction_sets(np.stack([sure, torn, np.full(10, 0.1) + np.eye(10)[7] * 0.01]).astype(np.float32), 0.3)
    assert [np.flatnonzero(row).tolist() for row in sets] == [[3], [4, 6], [7]]


def test_with_too_few_images_the_sets_hold_all_labels() -> None:
    probabilities, right = images_of(np.random.default_rng(0), 20)
    assert fit_threshold(probabilities, right, 0.99) == 0
    assert prediction_sets(probabilities, 0).all()


def answered(alone: np.ndarray, right: np.ndarray, seen: np.ndarray) -> AnsweredPhotos:
    """Return photographs with these answers and right labels, some looked at in colour, which says what was known."""

    class Known(AnsweredPhotos):
        right_labels = right

    said = Answers(alone, np.ones(len(alone), np.float32))
    evidence = np.where(seen[:, None], np.log(10 * alone), 0).astype(np.float32)
    fitted_to = alone, evidence, right.astype(np.float32)
    return Known((), said, evidence, cross_fitted(*fitted_to), fit_temperature(*fitted_to), (), said)


def test_photographs_seen_in_colour_have_a_threshold_of_their_own() -> None:
    alone, right = images_of(np.random.default_rng(0), 2000)
    seen = np.arange(2000) % 4 > 0
    photos = answered(alone, right, seen)
    before = measure_sets(0.95, 0.9, of_two_classes(), None)
    assert before.photos_threshold is None
    after = measure_photo_sets(before, photos)
    served = weigh(alone, photos.evidence, photos.temperature)
    assert after.photos_threshold == fit_threshold(served[seen], right[seen], 0.95) < 0.2
    others = (prediction_sets(alone, 0.9) & right).any(axis=1)[~seen].mean()
    assert after.photos_coverage == pytest.approx(0.75 * 0.95 + 0.25 * others, abs=0.01)
    assert after.threshold == before.threshold
    unseen = measure_photo_sets(before, answered(alone, right, seen & False))
    assert unseen.photos_threshold is None
    assert unseen.photos_mean_size == prediction_sets(alone, 0.9).sum(axis=1).mean()


def test_each_fifth_of_the_photographs_is_measured_with_what_was_fitted_to_the_others() -> None:
    alone, right = images_of(np.random.default_rng(0), 200)
    photos = answered(alone, right, np.ones(200, bool))
    fold_of = np.arange(200) % FOLDS
    sizes = []
    for fold in range(FOLDS):
        others = fold_of != fold
        temperature = fit_temperature(alone[others], photos.evidence[others], right[others].astype(np.float32))
        weighed = weigh(alone, photos.evidence, temperature)
        sets = prediction_sets(weighed[~others], fit_threshold(weighed[others], right[others], 0.9))
        sizes.extend(sets.sum(axis=1))
    measured = measure_photo_sets(measure_sets(0.9, 0.9, of_two_classes(), None), photos)
    assert measured.photos_mean_size == pytest.approx(np.mean(sizes))
    assert measured.photos_threshold
    of_all = prediction_sets(photos.probabilities, measured.photos_threshold)
    assert measured.photos_mean_size != of_all.sum(axis=1).mean()


def of_two_classes() -> Evaluation:
    probabilities = np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.9, 0.1]], np.float32)
    split = Split(np.zeros((4, 28, 28), np.uint8), np.array([0, 1, 0, 1], np.uint8))
    return Evaluation(split, Answers(np.pad(probabilities, ((0, 0), (0, 8))), np.ones(4, np.float32)))


def test_coverage_size_and_worst_class_are_counted() -> None:
    facts = measure_sets(0.9, 0.3, of_two_classes(), None)
    assert (facts.test_coverage, facts.test_mean_size, facts.photos_coverage) == (0.75, 1.5, None)
    assert (facts.test_worst_class, facts.test_worst_class_coverage) == ("Trouser", 0.5)


def second_best(true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities that give the true label the given ones and another label more, and which label is true."""
    probabilities = np.zeros((len(true), 10), np.float32)
    probabilities[:, 0], probabilities[:, 1] = true, 0.8
    return probabilities, np.arange(10) == np.zeros((len(true), 1))


@pytest.mark.parametrize(("n", "expected"), [(9, 0.01), (19, 0.02)])
def test_the_rank_of_the_threshold_counts_one_more_image_and_the_threshold_is_inclusive(
    n: int, expected: float
) -> None:
    probabilities, right = second_best(np.arange(1, n + 1) / 100)
    threshold = fit_threshold(probabilities, right, 0.9)
    assert threshold == pytest.approx(expected)
    assert prediction_sets(probabilities, threshold)[:, 0].sum() == n + 1 - n // 9


def test_if_the_first_label_is_always_right_the_sets_hold_nothing_else() -> None:
    probabilities = (np.full((50, 10), 0.09) + 0.1 * np.eye(10)[[3] * 50]).astype(np.float32)
    assert fit_threshold(probabilities, np.arange(10) == np.full((50, 1), 3), 0.9) == 1
