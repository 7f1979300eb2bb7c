from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from app.classifier import Answers
from training.conformal import fit_threshold, measure_sets, prediction_sets
from training.data import Split
from training.evaluate import Evaluation


def images_of(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw probabilities, `[n, 10]`, that are wrong about the true classes, `[n]`, which come with them."""
    logits = rng.normal(0, 2, (n, 10))
    class_ids = np.array([rng.choice(10, p=row) for row in softmax(logits, axis=1)], np.uint8)
    return softmax(3 * logits, axis=1).astype(np.float32), class_ids


@pytest.mark.parametrize("coverage", [0.9, 0.95, 0.99])
def test_sets_hold_the_true_label_as_often_as_asked_however_wrong_the_probabilities_are(coverage: float) -> None:
    rng = np.random.default_rng(0)
    threshold = fit_threshold(*images_of(rng, 5000), coverage)
    probabilities, class_ids = images_of(rng, 20_000)
    covered = prediction_sets(probabilities, threshold)[np.arange(len(class_ids)), class_ids]
    assert covered.mean() == pytest.approx(coverage, abs=0.012)


def test_no_set_is_empty_and_a_sure_answer_stands_alone() -> None:
    sure, torn = np.full(10, 0.001), np.full(10, 0.02)
    sure[3], torn[[4, 6]] = 0.991, (0.44, 0.40)
    sets = prediction_sets(np.stack([sure, torn, np.full(10, 0.1) + np.eye(10)[7] * 0.01]).astype(np.float32), 0.3)
    assert [np.flatnonzero(row).tolist() for row in sets] == [[3], [4, 6], [7]]


def test_a_few_images_cannot_promise_much_so_the_sets_hold_all_labels() -> None:
    probabilities, class_ids = images_of(np.random.default_rng(0), 20)
    assert fit_threshold(probabilities, class_ids, 0.99) == 0
    assert prediction_sets(probabilities, 0).all()


def test_coverage_size_and_worst_class_are_counted() -> None:
    probabilities = np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.9, 0.1]], np.float32)
    probabilities = np.pad(probabilities, ((0, 0), (0, 8)))
    class_ids = np.array([0, 1, 0, 1], np.uint8)
    test = Evaluation(Split(np.zeros((4, 28, 28), np.uint8), class_ids), Answers(probabilities, np.ones(4, np.float32)))
    facts = measure_sets(0.9, 0.3, test, None)
    assert (facts.test_coverage, facts.test_mean_size, facts.photos_coverage) == (0.75, 1.5, None)
    assert (facts.test_worst_class, facts.test_worst_class_coverage) == ("Trouser", 0.5)
