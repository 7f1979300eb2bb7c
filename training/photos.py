"""Photographs of clothing, kept in a folder for each kind: listed, divided, converted, measured."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from app.imaging.conversion import Mode, convert
from app.imaging.decode import decode
from app.model_card import IMAGE_SHAPE, FolderMetrics, PhotoMetrics
from training.data import LABELS
from training.errors import DataError
from training.evaluate import in_batches, wilson_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from app.classifier import Answers

MAX_IMAGE_PIXELS = 50_000_000

CLASSES_OF: dict[str, tuple[str, ...]] = {
    "dress": ("Dress",),
    "hat": (),
    "longsleeve": ("Pullover", "Shirt"),
    "outwear": ("Coat",),
    "pants": ("Trouser",),
    "shirt": ("Shirt",),
    "shoes": ("Sandal", "Sneaker", "Ankle boot"),
    "shorts": (),
    "skirt": (),
    "t-shirt": ("T-shirt/top",),
}
"""The labels that are right for the photographs of a folder; none where Fashion-MNIST has no such class.

Source:
    Folders of https://github.com/alexeygrigorev/clothing-dataset-small.
"""

SHOES = "shoes"
"""The folder of what comes in pairs."""


@dataclass(frozen=True, order=True, slots=True)
class Photo:
    """A photograph.

    Attributes:
        path: The JPEG file.
        folder: The kind of garment, a key of `CLASSES_OF`.
    """

    path: Path
    folder: str


def list_photos(folder: Path) -> list[Photo]:
    """Find the photographs below a folder, in an order that is the same on every machine.

    Args:
        folder: Holds folders named as in `CLASSES_OF`, with files `*.jpg`; anything else is left alone.

    Raises:
        DataError: There is not one photograph.
    """
    photos = sorted(Photo(path, kind) for kind in CLASSES_OF for path in (folder / kind).glob("*.jpg"))
    if not photos:
        msg = f"{folder}: expected photographs as KIND/*.jpg, where KIND is one of {', '.join(CLASSES_OF)}; found none"
        raise DataError(msg)
    return photos


def digest_of(photos: Iterable[Photo]) -> str:
    """Return the SHA-256, in hexadecimal digits, of photographs with their folders and names, whatever their order."""
    digest = hashlib.sha256()
    for photo in sorted(photos):
        digest.update(f"{photo.folder}/{photo.path.name}".encode() + photo.path.read_bytes())
    return digest.hexdigest()


def split_photos(photos: Iterable[Photo], share: float, seed: int) -> tuple[list[Photo], list[Photo]]:
    """Hold out a share of the photographs of each folder.

    A photograph's own name decides on which side it is, so it stays there whatever others are added or taken away.

    Args:
        photos: What to divide.
        share: How much to hold out, from 0 to 1; met as closely as chance meets it.
        seed: Decides which.

    Returns:
        What may be learnt from and what is held out, each in the given order.
    """
    sides: tuple[list[Photo], list[Photo]] = ([], [])
    for photo in photos:
        sides[_draw(photo, seed) < share].append(photo)
    return sides


def require_classed(learnt: Sequence[Photo], held_out: Sequence[Photo]) -> None:
    """Refuse, before hours of training, photographs of which none with a right label is learnt from or held out.

    Raises:
        DataError: Hats, shorts and skirts alone, so few that chance holds out none, or a share of 0 or 1.
    """
    n_learnt, n_held_out = (sum(bool(CLASSES_OF[photo.folder]) for photo in side) for side in (learnt, held_out))
    if not n_learnt or not n_held_out:
        msg = "expected photographs of garments that have a class to learn from and others to hold out, received "
        msg += f"{n_learnt} and {n_held_out} of {len(learnt) + len(held_out)}"
        raise DataError(msg)


def _draw(photo: Photo, seed: int) -> float:
    """Draw a number from 0 to under 1 that depends on the seed and the photograph's folder and name alone."""
    digest = hashlib.sha256(f"{seed}/{photo.folder}/{photo.path.name}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def targets_of(photos: Sequence[Photo]) -> NDArray[np.float32]:
    """Return what each photograph may be called, float32 `[n, 10]`: the right labels share the 1 of their row alike."""
    rows = np.array([[label in CLASSES_OF[photo.folder] for label in LABELS] for photo in photos], np.float32)
    return np.asarray(rows / rows.sum(axis=1, keepdims=True), np.float32)


def convert_photo(photo: Photo) -> NDArray[np.uint8]:
    """Convert a photograph as the service does, uint8 `[28, 28]`."""
    return convert(decode_photo(photo), Mode.AUTO).image


def decode_photo(photo: Photo) -> Image.Image:
    """Decode a photograph as the service does."""
    return decode(photo.path.read_bytes(), "image/jpeg", MAX_IMAGE_PIXELS).pixels


@dataclass(frozen=True, slots=True)
class AnsweredPhotos:
    """Photographs with a model's answers, apart by whether Fashion-MNIST has a class for them.

    Attributes:
        known: Those of folders with a right label.
        of_known: What the model says about each.
        unknown: The others.
        of_unknown: Likewise.
    """

    known: tuple[Photo, ...]
    of_known: Answers
    unknown: tuple[Photo, ...]
    of_unknown: Answers

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the most probable label of each known photograph is a right one, `[n]`."""
        return self.covered(self.of_known.probabilities == self.of_known.probabilities.max(axis=1, keepdims=True))

    def covered(self, sets: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return whether each known photograph's set of labels, bool `[n, 10]`, holds a right one, `[n]`."""
        return np.asarray((sets & (targets_of(self.known) > 0)).any(axis=1))


def answer_photos(classify: Callable[[NDArray[np.uint8]], Answers], photos: Sequence[Photo]) -> AnsweredPhotos:
    """Let a model answer for photographs, converted as the service does.

    Args:
        classify: Takes uint8 `[n, 28, 28]`.
        photos: Some at least with a right label.
    """
    sides: tuple[list[Photo], list[Photo]] = ([], [])
    for photo in photos:
        sides[not CLASSES_OF[photo.folder]].append(photo)
    answers = (
        in_batches(classify, np.array([convert_photo(photo) for photo in side], np.uint8).reshape(-1, *IMAGE_SHAPE))
        for side in sides
    )
    return AnsweredPhotos(tuple(sides[0]), next(answers), tuple(sides[1]), next(answers))


def measure_photos(answered: AnsweredPhotos, learnt: Sequence[Photo]) -> PhotoMetrics:
    """Count the right answers on photographs that were held out.

    Args:
        answered: What to measure on.
        learnt: What was learnt from.
    """
    n, right = Counter(photo.folder for photo in answered.known), Counter[str]()
    for photo, is_right in zip(answered.known, answered.right, strict=True):
        right[photo.folder] += int(is_right)
    return PhotoMetrics(
        digest=digest_of([*learnt, *answered.known, *answered.unknown]),
        learnt_from=sum(bool(CLASSES_OF[photo.folder]) for photo in learnt),
        held_out=n.total(),
        accuracy=right.total() / n.total(),
        accuracy_interval_95=wilson_interval(right.total(), n.total()),
        folders={folder: FolderMetrics(n=n[folder], right=right[folder]) for folder in sorted(n)},
    )
