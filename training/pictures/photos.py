"""Photographs of clothing, in one folder per kind."""

from __future__ import annotations

import csv
import functools
import hashlib
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from app.errors import ServiceError
from app.model_card import Collection
from training.data import LABELS
from training.errors import DataError
from training.pictures.upload import convert_upload, decode_upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from app.imaging.conversion import Converted

Read = TypeVar("Read")

logger = logging.getLogger(__name__)

ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}

CLASSES_OF: dict[str, tuple[str, ...]] = {
    "bag": ("Bag",),
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
"""The labels that are right for the photographs of each folder; none where Fashion-MNIST has no such class.

Source:
    Folders of https://github.com/alexeygrigorev/clothing-dataset-small, which has no bags.
"""

COLLECTIONS = {
    "988cfd1dd39edaa9fa21cf0ec093fcb6b87f6de07020ffacb07c86702a88ffc3": Collection(
        name="clothing-dataset-small",
        url="https://github.com/alexeygrigorev/clothing-dataset-small",
        license="CC0-1.0",
    )
}
"""What the card says about known collections of photographs, by their `digest_of`."""

SHOES = "shoes"
"""The folder of what comes in pairs."""


@functools.cache
def labels_by_eye() -> dict[tuple[str, str], str]:
    """Return the single label given by eye to photographs in folders with several labels, by folder and file name.

    A label was given where the photograph leaves no doubt. A Pullover is pulled over the head and has no opening down
    its front; a Shirt is a blouse, or has buttons down its front; a Sandal is open, with or without a heel; an Ankle
    boot reaches to the ankle or higher; a Sneaker is a sports shoe that does not. Cardigans, jackets, pumps, loafers,
    slippers and leather lace-ups, for which Fashion-MNIST has no class, have no label.
    """
    with Path(__file__).with_name("photo_labels.csv").open(newline="") as file:
        return {(row["folder"], row["file"]): row["label"] for row in csv.DictReader(file)}


@dataclass(frozen=True, order=True, slots=True)
class Photo:
    """A photograph.

    Attributes:
        path: The file.
        folder: The kind of garment, a key of `CLASSES_OF`.
    """

    path: Path
    folder: str

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that are right for this photograph: fewer than its folder's where one was given by eye."""
        label = labels_by_eye().get((self.folder, self.path.name))
        return (label,) if label else CLASSES_OF[self.folder]

    @property
    def is_told_apart(self) -> bool:
        """Whether it has a single label while its folder has several."""
        return len(self.labels) < len(CLASSES_OF[self.folder])


def list_photos(folder: Path) -> list[Photo]:
    """Find the photographs below a folder, in the same order on every machine.

    Args:
        folder: Holds folders named as in `CLASSES_OF`, with files that end as in `ENDINGS`. Anything else is ignored;
            the log names ignored folders.

    Raises:
        DataError: There is no photograph.
    """
    photos = sorted(
        Photo(path, kind)
        for kind in CLASSES_OF
        for path in (folder / kind).glob("*")
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".")
    )
    if not photos:
        kinds, endings = ", ".join(CLASSES_OF), ", ".join(sorted(ENDINGS))
        msg = f"{folder}: expected photographs ({endings}) in folders named {kinds}; found none"
        raise DataError(msg)
    counts = Counter(photo.folder for photo in photos)
    logger.info("photographs: %s", ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())))
    if others := sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in CLASSES_OF):
        logger.info("left alone, since no folder is called so: %s", ", ".join(others))
    return photos


def require_readable(photos: Iterable[Photo]) -> None:
    """Check, before hours of training, that every photograph can be decoded.

    Raises:
        DataError: A photograph cannot be decoded.
    """
    for photo in photos:
        decode_photo(photo)


def digest_of(photos: Iterable[Photo]) -> str:
    """Return the SHA-256, in hexadecimal digits, of photographs, their folders and names, in whatever order."""
    digest = hashlib.sha256()
    for photo in sorted(photos):
        digest.update(f"{photo.folder}/{photo.path.name}".encode() + photo.path.read_bytes())
    return digest.hexdigest()


def split_photos(photos: Iterable[Photo], share: float, seed: int) -> tuple[list[Photo], list[Photo]]:
    """Hold out a share of the photographs of each folder.

    A photograph's own name and folder decide on which side it is, so it stays there when others are added or removed.

    Args:
        photos: Photographs to divide.
        share: Share to hold out, 0 to 1; the actual share differs by chance.
        seed: Decides which photographs.

    Returns:
        The photographs to learn from and the held-out ones, each in the given order.
    """
    sides: tuple[list[Photo], list[Photo]] = ([], [])
    for photo in photos:
        sides[_draw(photo, seed) < share].append(photo)
    return sides


def require_classed(learnt: Sequence[Photo], held_out: Sequence[Photo]) -> None:
    """Check, before hours of training, that photographs with a right label are both learnt from and held out.

    Raises:
        DataError: There are only hats, shorts and skirts, so few photographs that chance leaves one side empty, or the
            share is 0 or 1.
    """
    n_learnt, n_held_out = (sum(bool(CLASSES_OF[photo.folder]) for photo in side) for side in (learnt, held_out))
    if not n_learnt or not n_held_out:
        msg = "expected photographs of garments that have a class to learn from and others to hold out, received "
        msg += f"{n_learnt} and {n_held_out} of {len(learnt) + len(held_out)}"
        raise DataError(msg)


def _draw(photo: Photo, seed: int) -> float:
    """Draw a number in [0, 1) that depends only on the seed and the photograph's folder and name."""
    digest = hashlib.sha256(f"{seed}/{photo.folder}/{photo.path.name}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def targets_of(photos: Sequence[Photo]) -> NDArray[np.float32]:
    """Return the right labels of each photograph, float32 `[n, 10]`: equal shares that sum to 1 in each row."""
    return _shared(photo.labels for photo in photos)


def allowed_of(photos: Sequence[Photo]) -> NDArray[np.float32]:
    """Return the labels of each photograph's folder, float32 `[n, 10]`: equal shares that sum to 1 in each row."""
    return _shared(CLASSES_OF[photo.folder] for photo in photos)


def _shared(right: Iterable[tuple[str, ...]]) -> NDArray[np.float32]:
    rows = np.array([[label in labels for label in LABELS] for labels in right], np.float32).reshape(-1, len(LABELS))
    return np.asarray(rows / rows.sum(axis=1, keepdims=True), np.float32)


def convert_photo(photo: Photo) -> Converted:
    """Convert a photograph as the service does.

    Raises:
        DataError: It cannot be read.
    """
    return _read(photo, convert_upload)


def decode_photo(photo: Photo) -> Image.Image:
    """Decode a photograph as the service does, with transparent parts on white.

    Raises:
        DataError: It cannot be read.
    """
    return _read(photo, decode_upload).pixels


def _read(photo: Photo, read: Callable[[bytes], Read]) -> Read:
    try:
        return read(photo.path.read_bytes())
    except (ServiceError, OSError) as error:
        msg = f"{photo.path}: {error}"
        raise DataError(msg) from error
