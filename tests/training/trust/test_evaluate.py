from __future__ import annotations

import numpy as np
import pytest

from app.classifier import Answers
from training.data import LABELS, Data, Split
from training.trust.evaluate import Evaluation, evaluate, in_batches, wilson_interval
from training.trust.reliability import brier_score, expected_calibration_error, negative_log_likelihood, reliability


def test_a_model_that_is_always_right_has_perfect_metrics(data: Data) -> None:
    certain = Answers(np.eye(10, dtype=np.float32)[data.test.class_ids], np.ones(100, np.float32))
    metrics = evaluate(lambda _: certain, data.test).metrics
    assert (metrics.n, metrics.accuracy, metrics.negative_log_likelihood, metrics.brier_score) == (100, 1, 0, 0)
    assert metrics.ece_equal_mass == metrics.ece_equal_width == 0
    assert all((row.precision, row.recall) == (1, 1) for row in metrics.classes)
    assert metrics.confusion == tuple(map(tuple, 10 * np.eye(10, dtype=int)))
    assert metrics.reliability
    assert {(one.confidence, one.accuracy) for one in metrics.reliability} == {(1, 1)}


def test_precision_and_recall_are_read_off_the_confusion_matrix() -> None:
    true, predicted = np.array([0, 0, 0, 1, 2], np.uint8), np.array([0, 0, 1, 1, 1])
    split = Split(np.zeros((5, 28, 28), np.uint8), true)
    evaluation = Evaluation(split, Answers(np.eye(10, dtype=np.float32)[predicted], np.ones(5, np.float32)))
    assert evaluation.confusion[:3, :3].tolist() == [[2, 1, 0], [0, 1, 0], [0, 1, 0]]
    rows = {row.label: (row.precision, row.recall) for row in evaluation.metrics.classes}
    assert rows[LABELS[0]] == pytest.approx((1, 2 / 3))
    assert rows[LABELS[1]] == pytest.approx((1 / 3, 1))
    assert rows[LABELS[2]] == (0, 0)


def test_images_are_evaluated_in_batches_without_losing_any() -> None:
    images = np.zeros((1234, 28, 28), np.uint8)
    sizes = []

    def classify(batch: np.ndarray) -> Answers:
        sizes.append(len(batch))
        return Answers(np.full((len(batch), 10), 0.1, np.float32), np.ones(len(batch), np.float32))

    assert evaluate(classify, Split(images, np.zeros(1234, np.uint8))).metrics.n == 1234
    assert sizes == [500, 500, 234]
    assert in_batches(classify, images[:0]).probabilities.shape == (0, 10)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (9481, 10000, 0.9436, 0.9523)]
)
def test_wilson_intervals_match_the_published_formula(right: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=1e-4)


def test_calibration_is_measured_in_bins_of_either_kind_and_drawn_in_those_of_equal_mass() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(10, 0.2), 1500).astype(np.float32)
    class_ids = rng.integers(0, 10, 1500, np.uint8)
    split, right = Split(np.zeros((1500, 28, 28), np.uint8), class_ids), probabilities.argmax(axis=1) == class_ids
    metrics = Evaluation(split, Answers(probabilities, np.ones(1500, np.float32))).metrics
    assert metrics.ece_equal_mass == expected_calibration_error(probabilities, right, "mass")
    assert metrics.ece_equal_width == expected_calibration_error(probabilities, right, "width")
    assert metrics.ece_equal_mass != metrics.ece_equal_width
    assert metrics.negative_log_likelihood == negative_log_likelihood(probabilities, class_ids)
    assert metrics.brier_score == brier_score(probabilities, class_ids)
    assert metrics.reliability
    drawn = [(one.share, one.confidence, one.accuracy) for one in metrics.reliability]
    assert drawn == [*map(tuple, reliability(probabilities, right, "mass").tolist())]
