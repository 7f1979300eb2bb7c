"""Lets existing models teach a new one: their answers become its targets."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from app.model_card import CARD_NAME, IMAGE_SHAPE
from training.cache import cached
from training.data import LABELS, one_hot
from training.errors import DataError
from training.fingerprint import code, fingerprint
from training.pictures.mixture import Teaching
from training.pictures.photos import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import DistillationConfig, TrainingConfig
    from training.data import Data, Split
    from training.pictures.mixture import Mixture
    from training.pictures.photos import Photo

BATCH_SIZE = 500

BLENDS_OF_A_PHOTO = 8
"""Blends made per photograph for each made per image of the data set, since photographs are few."""

LEAST = 1e-6
"""Floor for probabilities: a smaller float32 carries no information."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Teacher:
    """A model that answers for images.

    Attributes:
        probabilities: From uint8 `[n, 28, 28]` to float32 `[n, 10]`, each row summing to 1.
        digest: SHA-256 of its graph.
        split_seed: Seeds what it held out.
        held_out_share: Share of the photographs that it held out; None where it learnt from the data set alone.
        photos_digest: SHA-256 over all its photographs; None where it learnt from the data set alone.
        data_digests: SHA-256 of each file of the data set that it learnt from, by name.
        mirrors: Whether its answers already take the mirror image into account.
        folder: Folder it was read from, if any.
    """

    probabilities: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    digest: str
    split_seed: int
    held_out_share: float | None
    photos_digest: str | None
    data_digests: Mapping[str, str]
    mirrors: bool = False
    folder: Path | None = None

    @property
    def knows_photos(self) -> bool:
        """Whether it has learnt from photographs; a teacher that has not can teach the data set alone."""
        return self.held_out_share is not None

    def both_ways(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the mean answer, float32 `[n, 10]`, to images, uint8 `[n, 28, 28]`, and to their mirror images."""
        answers = self.probabilities(images)
        return answers if self.mirrors else np.float32(0.5) * (answers + self.probabilities(images[:, :, ::-1]))


def read_teacher(folder: Path) -> Teacher:
    """Load an artifact of any version of this project as a teacher; the folder has to be trusted.

    Raises:
        DataError: The folder holds no artifact.
    """
    try:
        card = json.loads((folder / CARD_NAME).read_text())
        training = card["training"]
        config = training["config"]
        signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
        return Teacher(
            lambda images: signature(images=tf.constant(images))["probabilities"].numpy(),
            digest=hashlib.sha256((folder / "saved_model.pb").read_bytes()).hexdigest(),
            split_seed=config.get("split_seed", config["seed"]),  # in older models one seed decided everything
            held_out_share=config["photos"]["held_out_share"] if config.get("photos") else None,
            photos_digest=card["photos"]["digest"] if config.get("photos") else None,
            data_digests=training["data_digests"],
            mirrors=config.get("mirror", False),
            folder=folder,
        )
    except (OSError, ValueError, KeyError) as error:
        msg = f"{folder}: expected an artifact to learn from, found {str(error).splitlines()[0]}"
        raise DataError(msg) from error


def require_same_held_out(
    teachers: Sequence[Teacher], config: TrainingConfig, data: Data, photos: Sequence[Photo] = ()
) -> None:
    """Refuse teachers that may have learnt from what this run is measured on: they would pass on what they memorised.

    Args:
        teachers: The teachers that were loaded.
        config: `distillation` names the expected teachers; `split_seed` and `photos` say what is held out.
        data: The data set that the run learns from.
        photos: All photographs, held out or not; a photograph's name decides on which side it is.

    Raises:
        DataError: The config names other teachers, or a teacher has held out other images or photographs.
    """
    photos_digest = digest_of(photos) if config.photos else None
    named, received = config.distillation.teachers if config.distillation else (), [one.digest for one in teachers]
    if [*named] != received:
        msg = f"expected the config's teachers, {', '.join(named) or 'none'}, received {', '.join(received) or 'none'}"
        raise DataError(msg)
    for teacher in teachers:
        for difference in _differences(teacher, config, data, photos_digest):
            msg = f"teacher {teacher.digest}: expected {difference}: it may have learnt from what this run holds out"
            raise DataError(msg)


def _differences(teacher: Teacher, config: TrainingConfig, data: Data, photos_digest: str | None) -> Iterator[str]:
    """Yield each difference between what a teacher and this run hold out."""
    if teacher.split_seed != config.split_seed:
        yield f"split_seed {config.split_seed}, received {teacher.split_seed}"
    # A run without photographs is not measured on any.
    if config.photos and teacher.knows_photos:
        if teacher.held_out_share != config.photos.held_out_share:
            yield f"held_out_share {config.photos.held_out_share}, received {teacher.held_out_share}"
        if teacher.photos_digest != photos_digest:
            yield "the photographs of this run, received a model of others"
    if dict(teacher.data_digests) != dict(data.digests):
        yield "the files of the data set that this run reads, received a model of others"


def taught(
    mixture: Mixture, teachers: Sequence[Teacher], config: DistillationConfig, split: Split, runs: Path
) -> Mixture:
    """Return the mixture with the teachers' answers, reusing those that were kept for an earlier run.

    Args:
        mixture: The photographs, if there are any.
        teachers: All count equally.
        config: How far to trust them, and how many blends to make.
        split: The training split.
        runs: Folder where the answers are kept.

    Raises:
        DataError: There are photographs, but no teacher has learnt from any.
    """
    if len(mixture.photos) and not any(teacher.knows_photos for teacher in teachers):
        msg = "expected a teacher that has learnt from photographs, since there are photographs to learn from"
        raise DataError(msg)
    rng = np.random.default_rng(config.seed)
    photos = mixture.photos.reshape(-1, *IMAGE_SHAPE)
    blends = blend(split.images, config.blends * len(split), rng)
    of_photos = blend(photos, config.blends * BLENDS_OF_A_PHOTO * len(mixture.photos), rng)
    asked = fingerprint(split.images, mixture.photos, blends, of_photos, *code("distillation.py"))

    def answers_of(teacher: Teacher) -> dict[str, np.ndarray]:
        logger.info("asking teacher %s", teacher.digest[:7])
        answers = {"images": _ask(teacher.both_ways, split.images), "blends": _ask(teacher.probabilities, blends)}
        if teacher.knows_photos or not len(photos):
            answers["photos"] = _ask(teacher.both_ways, photos)
            answers["blends of photos"] = _ask(teacher.probabilities, of_photos)
        return answers

    heard = [
        cached(runs / f"answers-{fingerprint(asked, one.digest, one.knows_photos)}.npz", partial(answers_of, one))
        for one in teachers
    ]

    def mean(what: str) -> NDArray[np.float32]:
        said: NDArray[np.float32] = np.mean([answers[what] for answers in heard if what in answers], axis=0)
        return said

    labels, said = mixture.targets[:, None], mean("photos").reshape(*mixture.photos.shape[:2], len(LABELS))
    teaching = Teaching(
        targets=targets_of(mean("images"), one_hot(split.class_ids), config),
        photo_targets=targets_of(told_apart(said, labels, mixture.allowed[:, None]), labels, config),
        blends=np.concatenate([blends, of_photos]),
        blend_targets=soften(np.concatenate([mean("blends"), mean("blends of photos")]), config.temperature),
        begin=teachers[0].folder if config.continued else None,
    )
    return replace(mixture, teaching=teaching)


def targets_of(
    answers: NDArray[np.float32], labels: NDArray[np.float32], config: DistillationConfig
) -> NDArray[np.float32]:
    """Combine the teachers' softened answers with the labels known to be right, which are not softened.

    Args:
        answers: float32 `[..., 10]`, probabilities.
        labels: `[..., 10]`, above 0 where a label is right; among several right ones the teachers decide.
        config: `trust` and `temperature`.

    Returns:
        float32 `[..., 10]`, each row summing to 1.
    """
    right = np.where(labels > 0, np.maximum(answers, LEAST), 0)
    right /= right.sum(axis=-1, keepdims=True)
    return (1 - config.trust) * right + config.trust * soften(answers, config.temperature)


def told_apart(
    answers: NDArray[np.float32], labels: NDArray[np.float32], allowed: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Move the teachers' probability for a set of labels to its right ones, shared as the teachers would share it.

    A teacher that was only taught that a set of labels is right leans to one of them by chance.

    Args:
        answers: float32 `[..., 10]`, probabilities.
        labels: `[..., 10]`, above 0 where a label is right.
        allowed: `[..., 10]`, above 0 for the whole set: the right labels, and all that the teachers were taught as
            right.

    Returns:
        float32 `[..., 10]`; the sum of each row does not change.
    """
    right = np.where(labels > 0, np.maximum(answers, LEAST), 0)
    held = np.where(allowed > 0, answers, 0).sum(axis=-1, keepdims=True)
    return np.where(allowed > 0, held * right / right.sum(axis=-1, keepdims=True), answers)


def soften(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return the probabilities with their logarithms divided by the temperature, renormalised.

    Source:
        Hinton et al., "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531): a teacher's probabilities of
        unlikely labels teach too.
    """
    soft = np.maximum(probabilities, LEAST) ** (1 / temperature)
    return np.asarray(soft / soft.sum(axis=-1, keepdims=True), np.float32)


def _ask(answer: Callable[[NDArray[np.uint8]], NDArray[np.float32]], images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Ask a teacher about images in batches, and return its answers, float32 `[n, 10]`."""
    answers = np.empty((len(images), len(LABELS)), np.float32)
    for start in tqdm(range(0, len(images), BATCH_SIZE), unit=f" times {BATCH_SIZE} images"):
        answers[start : start + BATCH_SIZE] = answer(images[start : start + BATCH_SIZE])
    return answers


def blend(images: NDArray[np.uint8], count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blend random pairs of images, uint8 `[count, 28, 28]`: half are mixed, half get a box of the other image.

    Source:
        Zhang et al., "mixup" (arXiv 1710.09412) and Yun et al., "CutMix" (arXiv 1905.04899). That a teacher's answer
        to such images beats mixing the labels is from Beyer et al., "Knowledge distillation: A good teacher is patient
        and consistent" (arXiv 2106.05237).
    """
    if not len(images):
        return np.empty((0, *IMAGE_SHAPE), np.uint8)
    one, other = (images[rng.integers(0, len(images), count)] for _ in range(2))
    other = np.where((rng.random(count) < 0.5)[:, None, None], other[:, :, ::-1], other)  # noqa: PLR2004  a coin
    share = rng.random(count).astype(np.float32)
    mixed = np.rint(one + share[:, None, None] * (other.astype(np.float32) - one)).astype(np.uint8)
    return np.where((rng.random(count) < 0.5)[:, None, None], mixed, np.where(_boxes(share, rng), other, one))  # noqa: PLR2004  a coin


def _boxes(share: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a box that covers a share of each image, bool `[n, 28, 28]`; less where it extends past the edge."""
    inside = []
    for side in IMAGE_SHAPE:
        length = side * np.sqrt(share)[:, None]
        from_start = np.arange(side) + 0.5 - (rng.random((len(share), 1)) * side - length / 2)
        inside.append((from_start > 0) & (from_start < length))
    return np.asarray(inside[0][:, :, None] & inside[1][:, None, :])
