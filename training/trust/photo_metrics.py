"""Measures a model on held-out photographs."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from app.classifier import Answers
from app.imaging.recognition import RECOGNISER, evidence_in
from app.imaging.segmentation import SEGMENTER
from app.model_card import IMAGE_SHAPE, FolderMetrics, PhotoMetrics
from training.data import LABELS
from training.pictures.photos import CLASSES_OF, COLLECTIONS, allowed_of, convert_photo, digest_of, targets_of
from training.trust.evaluate import in_batches, wilson_interval
from training.trust.photo_temperature import cross_fitted, fit_temperature, fitting_loss
from training.trust.reliability import error_by_chance, expected_calibration_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from training.pictures.photos import Photo


@dataclass(frozen=True, slots=True)
class AnsweredPhotos:
    """Photographs with a model's answers, divided by whether Fashion-MNIST has a class for them.

    Attributes:
        known: Photographs of folders with a right label.
        of_known: The network's answers to `known`.
        evidence: float32 `[n, 10]`, the evidence in the colours of `known`, 0 where they were not looked at.
        probabilities: float32 `[n, 10]`, the answers to `known` by network and colours together.
        temperature: Temperature at which network and colours are to be combined for other photographs.
        unknown: Photographs of the other folders.
        of_unknown: The network's answers to `unknown`.
    """

    known: tuple[Photo, ...]
    of_known: Answers
    evidence: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    temperature: float
    unknown: tuple[Photo, ...]
    of_unknown: Answers

    @classmethod
    def of(cls, photos: Sequence[Photo], answers: Answers, evidence: NDArray[np.float32] | None = None) -> Self:
        """Divide photographs and their answers by whether there is a class for them.

        Args:
            photos: Photographs of any folder.
            answers: The network's answer to each.
            evidence: float32 `[n, 10]`, each photograph's evidence from its colours, 0 where they were not looked at;
                None where the answers include it already.
        """
        is_known = np.array([bool(CLASSES_OF[photo.folder]) for photo in photos], bool)
        (known, of_known), (unknown, of_unknown) = (
            (tuple(itertools.compress(photos, side)), Answers(*(part[side] for part in answers)))
            for side in (is_known, ~is_known)
        )
        if evidence is None:
            evidence = np.zeros_like(answers.probabilities)
        fitted_to = of_known.probabilities, evidence[is_known], targets_of(known)
        together, temperature = cross_fitted(*fitted_to), fit_temperature(*fitted_to)
        return cls(known, of_known, evidence[is_known], together, temperature, unknown, of_unknown)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which of the known photographs were looked at in colour, `[n]`."""
        return np.asarray(self.evidence.any(axis=1))

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the most probable label of each known photograph is one of its folder's, `[n]`."""
        return fits(self.probabilities, allowed_of(self.known))

    @property
    def right_alone(self) -> NDArray[np.bool_]:
        """The same as `right`, by the network alone."""
        return fits(self.of_known.probabilities, allowed_of(self.known))

    @property
    def right_labels(self) -> NDArray[np.bool_]:
        """Which labels are right for each known photograph, `[n, 10]`: only the one given by eye, if there is one."""
        return np.asarray(targets_of(self.known) > 0)

    @property
    def folders(self) -> dict[str, FolderMetrics]:
        """The known photographs in each folder, and how many of them get one of the folder's labels."""
        return _counts((photo.folder for photo in self.known), self.right)

    @property
    def told_apart(self) -> dict[str, FolderMetrics]:
        """The photographs given each label by eye in folders of several labels, and how many of them get it."""
        apart = [photo.is_told_apart for photo in self.known]
        return _counts((photo.labels[0] for photo in itertools.compress(self.known, apart)), self._exact[apart])

    @property
    def of_one_label(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Probabilities for photographs with exactly one right label, `[k, 10]`, and whether it ranks first, `[k]`."""
        sure = np.array([len(photo.labels) == 1 for photo in self.known], bool)
        return self.probabilities[sure], self._exact[sure]

    @property
    def calibration_error(self) -> float | None:
        """The expected calibration error over `of_one_label`, in bins of equal mass; None if there are none."""
        probabilities, is_it = self.of_one_label
        return expected_calibration_error(probabilities, is_it, "mass") if len(is_it) else None

    @property
    def _exact(self) -> NDArray[np.bool_]:
        """Whether the most probable label of each known photograph is right for that very photograph, `[n]`."""
        return fits(self.probabilities, targets_of(self.known))


def answer_photos(classify: Callable[[NDArray[np.uint8]], Answers], photos: Sequence[Photo]) -> AnsweredPhotos:
    """Run a model on photographs, converted and looked at in colour as in the service.

    Args:
        classify: Takes uint8 `[n, 28, 28]`.
        photos: Photographs, at least some with a right label.
    """
    converted = [convert_photo(photo) for photo in photos]
    images = np.array([one.image for one in converted], np.uint8).reshape(-1, *IMAGE_SHAPE)
    answers = in_batches(classify, images)
    evidence = np.zeros_like(answers.probabilities)
    for row, one in zip(evidence, converted, strict=True):
        row[:] = 0 if (said := evidence_in(one.colours, LABELS)) is None else said
    return AnsweredPhotos.of(photos, answers, evidence)


def measure_photos(answered: AnsweredPhotos, learnt: Sequence[Photo]) -> PhotoMetrics:
    """Return what the card says about held-out photographs.

    Args:
        answered: Held-out photographs with their answers.
        learnt: Photographs that were learnt from.
    """
    n, right = len(answered.known), int(answered.right.sum())
    digest = digest_of([*learnt, *answered.known, *answered.unknown])
    sure, is_it = answered.of_one_label
    return PhotoMetrics(
        digest=digest,
        collection=COLLECTIONS.get(digest),
        segmenter=SEGMENTER.digest,
        recogniser=RECOGNISER.digest,
        learnt_from=sum(bool(CLASSES_OF[photo.folder]) for photo in learnt),
        held_out=n,
        accuracy=right / n,
        accuracy_interval_95=wilson_interval(right, n),
        accuracy_alone=float(answered.right_alone.mean()),
        temperature=answered.temperature,
        negative_log_likelihood=fitting_loss(answered.probabilities, allowed_of(answered.known)),
        folders=answered.folders,
        told_apart=answered.told_apart,
        one_label=FolderMetrics(n=len(is_it), right=int(is_it.sum())) if len(is_it) else None,
        ece_equal_mass=answered.calibration_error,
        ece_by_chance=error_by_chance(sure, "mass") if len(is_it) else None,
    )


def constant_answers(told_apart: Mapping[str, FolderMetrics]) -> str:
    """Name the most frequent label of each folder with several, and how often it alone would be right.

    Args:
        told_apart: Counts by label.
    """
    said = []
    for labels in CLASSES_OF.values():
        n = {label: told_apart[label].n for label in labels if label in told_apart}
        if len(labels) > 1 and n:
            label = max(n, key=n.__getitem__)
            said.append(f"{label} {n[label]} of {sum(n.values())}")
    return ", ".join(said)


def fits(probabilities: NDArray[np.float32], allowed: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return whether the most probable label of each row is allowed, that is, above 0 in `allowed`, `[n]`."""
    named = probabilities.argmax(axis=1)
    return np.asarray(allowed[np.arange(len(named)), named] > 0)


def _counts(names: Iterable[str], right: Iterable[np.bool_]) -> dict[str, FolderMetrics]:
    n, hits = Counter[str](), Counter[str]()
    for name, is_right in zip(names, right, strict=True):
        n[name] += 1
        hits[name] += int(is_right)
    return {name: FolderMetrics(n=n[name], right=hits[name]) for name in sorted(n)}
