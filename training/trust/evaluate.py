"""Measures an exported model on a split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from app.classifier import Answers
from app.model_card import CalibrationMetrics, ClassMetrics, ReliabilityBin, SplitMetrics
from training.data import LABELS
from training.trust.reliability import brier_score, expected_calibration_error, negative_log_likelihood, reliability

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from training.data import Split

BATCH_SIZE = 500


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A split with a model's answers.

    Attributes:
        split: The images and their true classes.
        answers: The model's answers, in the order of the images.
    """

    split: Split
    answers: Answers

    @property
    def predicted(self) -> NDArray[np.intp]:
        """The most probable class id of each image, `[n]`."""
        predicted: NDArray[np.intp] = self.answers.probabilities.argmax(axis=1)
        return predicted

    @property
    def confusion(self) -> NDArray[np.intp]:
        """How often true class `row` was predicted as class `column`, `[10, 10]`."""
        return np.asarray(confusion_matrix(self.split.class_ids, self.predicted, labels=range(len(LABELS))))

    @property
    def metrics(self) -> SplitMetrics:
        """Everything that the model card says about a split."""
        n, right = len(self.split), self.predicted == self.split.class_ids
        probabilities = self.answers.probabilities
        return SplitMetrics(
            n=n,
            accuracy=float(right.mean()),
            accuracy_interval_95=wilson_interval(int(right.sum()), n),
            **measure_calibration(probabilities, self.split.class_ids).model_dump(),
            classes=_per_class(self.confusion),
            confusion=tuple(map(tuple, self.confusion.tolist())),
            reliability=tuple(
                ReliabilityBin(share=share, confidence=confidence, accuracy=accuracy)
                for share, confidence, accuracy in reliability(probabilities, right, "mass").tolist()
            ),
        )


def evaluate(classify: Callable[[NDArray[np.uint8]], Answers], split: Split) -> Evaluation:
    """Run a model on every image of a split.

    Args:
        classify: Takes uint8 `[n, 28, 28]`.
        split: What to measure on.
    """
    return Evaluation(split, in_batches(classify, split.images))


def measure_calibration(probabilities: NDArray[np.float32], class_ids: NDArray[np.uint8]) -> CalibrationMetrics:
    """Compare probabilities, float32 `[n, 10]`, with the true classes, uint8 `[n]`."""
    right = probabilities.argmax(axis=1) == class_ids
    return CalibrationMetrics(
        negative_log_likelihood=negative_log_likelihood(probabilities, class_ids),
        brier_score=brier_score(probabilities, class_ids),
        ece_equal_mass=expected_calibration_error(probabilities, right, "mass"),
        ece_equal_width=expected_calibration_error(probabilities, right, "width"),
    )


def in_batches(classify: Callable[[NDArray[np.uint8]], Answers], images: NDArray[np.uint8]) -> Answers:
    """Run a model on any number of images, uint8 `[n, 28, 28]`, in batches."""
    none = Answers(np.empty((0, len(LABELS)), np.float32), np.empty(0, np.float32))
    answers = [classify(images[start : start + BATCH_SIZE]) for start in range(0, len(images), BATCH_SIZE)] or [none]
    return Answers(*map(np.concatenate, zip(*answers, strict=True)))


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """Return the 95% interval of a share, by Wilson's score."""
    interval = binomtest(right, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _per_class(confusion: NDArray[np.intp]) -> tuple[ClassMetrics, ...]:
    """Return precision and recall of each class: 0 where it is never predicted or has no image."""
    hits = confusion.diagonal()
    precision = hits / np.maximum(confusion.sum(axis=0), 1)
    recall = hits / np.maximum(confusion.sum(axis=1), 1)
    return tuple(
        ClassMetrics(label=label, precision=float(p), recall=float(r))
        for label, p, r in zip(LABELS, precision, recall, strict=True)
    )
