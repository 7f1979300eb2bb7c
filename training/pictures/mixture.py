"""Converts, ahead of training, what is mixed into batches beside the data set's own images."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from app.imaging.conversion import Mode, convert
from app.imaging.segmentation import SEGMENTER, separate
from app.model_card import IMAGE_SHAPE
from training.cache import cached
from training.data import LABELS
from training.fingerprint import CONVERSION, code, fingerprint
from training.parallel import on_all_cores
from training.pictures.collage import collage
from training.pictures.disguise import GARMENTS, GROUNDS, disguise
from training.pictures.distortion import distort
from training.pictures.misjudging import separate_badly
from training.pictures.photos import CLASSES_OF, SHOES, allowed_of, convert_photo, decode_photo, digest_of, targets_of
from training.pictures.upload import convert_upload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import PhotoConfig, TrainingConfig
    from training.pictures.photos import Photo

MOST_PIECES = 6
"""Largest number of photographs in a collage."""

CODE = (
    *CONVERSION,
    SEGMENTER.path,
    *code("pictures/mixture.py", "pictures/photos.py", "pictures/upload.py", "pictures/disguise.py"),
    *code("pictures/distortion.py", "pictures/misjudging.py", "pictures/collage.py"),
)
"""The code and weights that the converted images depend on."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Teaching:
    """What the teachers say about everything that is learnt from.

    Attributes:
        targets: float32 `[n, 10]`, for each image of the training split.
        photo_targets: float32 `[m, variants, 10]`, for each converted version of each photograph.
        blends: uint8 `[k, 28, 28]`, two images in one, with no label but the teachers' answer.
        blend_targets: float32 `[k, 10]`, the teachers' answer to each blend.
        begin: Artifact with the weights to start from; None starts from fresh weights.
    """

    targets: NDArray[np.float32]
    photo_targets: NDArray[np.float32]
    blends: NDArray[np.uint8]
    blend_targets: NDArray[np.float32]
    begin: Path | None = None

    @property
    def drawn(self) -> tuple[NDArray[np.generic], ...]:
        """Everything that batches are made of."""
        return self.targets, self.photo_targets, self.blends, self.blend_targets

    def draw_blends(self, count: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Draw blends, uint8 `[count, 28, 28]`, with their targets, float32 `[count, 10]`."""
        chosen = rng.integers(0, len(self.blends), count)
        return self.blends[chosen], self.blend_targets[chosen]


@dataclass(frozen=True, slots=True)
class Mixture:
    """Images that went through the service's own conversion.

    Attributes:
        disguised: uint8 `[n, 28, 28]`, each image of the training split, disguised and converted back.
        photos: uint8 `[m, variants, 28, 28]`, photographs, each in several converted versions.
        targets: float32 `[m, 10]`, the right labels of each photograph, with equal shares that sum to 1.
        allowed: float32 `[m, 10]`, the labels of each photograph's folder, with equal shares that sum to 1.
        chances: float64 `[m]`, the probability of drawing each photograph; they sum to 1.
        unfamiliar: uint8 `[k, variants, 28, 28]`, photographs of what has no class; never drawn.
        collages: uint8 `[c, 28, 28]`, pieces of photographs laid over one another; never drawn.
        teaching: What teachers say about the training split and the photographs, if there are any.
    """

    disguised: NDArray[np.uint8]
    photos: NDArray[np.uint8]
    targets: NDArray[np.float32]
    allowed: NDArray[np.float32]
    chances: NDArray[np.float64]
    unfamiliar: NDArray[np.uint8]
    collages: NDArray[np.uint8]
    teaching: Teaching | None = None

    @property
    def examples(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """All versions of photographs with a class, and those of the others with the collages: uint8 `[n, 28, 28]`."""
        others = self.unfamiliar.reshape(-1, *IMAGE_SHAPE)
        return self.photos.reshape(-1, *IMAGE_SHAPE), np.concatenate([others, self.collages])

    @property
    def drawn(self) -> tuple[NDArray[np.generic], ...]:
        """Everything that batches are made of."""
        taught = self.teaching.drawn if self.teaching else ()
        return self.disguised, self.photos, self.targets, self.chances, *taught

    def disguise(
        self, images: NDArray[np.uint8], chosen: NDArray[np.intp], share: float, rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Return the chosen images of the training split, with a share of them replaced by their disguised versions."""
        return np.where((rng.random(len(images)) < share)[:, None, None], self.disguised[chosen], images)

    def draw(
        self, config: TrainingConfig, rng: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
        """Yield the other images of a batch, uint8 `[k, 28, 28]`, with their targets, float32 `[k, 10]`."""
        if count := config.photos_a_batch:
            chosen, variants = (
                rng.choice(len(self.photos), count, p=self.chances),
                rng.integers(0, self.photos.shape[1], count),
            )
            targets = self.teaching.photo_targets[chosen, variants] if self.teaching else self.targets[chosen]
            yield self.photos[chosen, variants], targets
        if self.teaching:
            yield self.teaching.draw_blends(config.blends_a_batch, rng)

    @classmethod
    def of_nothing(cls) -> Mixture:
        """Return a mixture without photographs, for teachers to add to."""
        images, rows = np.empty((0, *IMAGE_SHAPE), np.uint8), np.empty((0, len(LABELS)), np.float32)
        return cls(images, images[:, None], rows, rows, np.empty(0), images[:, None], images)


def prepare(
    config: PhotoConfig, seed: int, images: NDArray[np.uint8], photos: Sequence[Photo], folder: Path
) -> Mixture:
    """Convert images and photographs on all cores, or read what an earlier run converted in the same way.

    Args:
        config: How many versions of each photograph to make, and how much they differ.
        seed: Decides how each image is disguised and each photograph distorted.
        images: uint8 `[n, 28, 28]`, the training split.
        photos: Photographs to learn from.
        folder: Where all runs keep what was converted.
    """
    how = (config.variants, config.distortion, config.misjudged_share, config.paired_share, seed)
    photos = sorted(photos)  # the order of the cached arrays

    def convert_all() -> dict[str, np.ndarray]:
        logger.info("converting %d images and %d photographs", len(images), len(photos))
        return {
            "disguised": np.stack(on_all_cores(partial(_disguised, seed=seed), list(enumerate(images)), "images")),
            "photos": np.stack(on_all_cores(partial(_variants, config=config, seed=seed), photos, "photographs")),
        }

    def make_collages() -> dict[str, np.ndarray]:
        make = partial(_collage, photos=photos, seed=seed)
        return {"collages": np.stack(on_all_cores(make, range(config.collages), "collages"))}

    digest = digest_of(photos)
    converted = cached(folder / f"mixture-{fingerprint(how, images, digest, *CODE)}.npz", convert_all)
    made_of = fingerprint(config.collages, seed, digest, *CODE)
    collages = cached(folder / f"collages-{made_of}.npz", make_collages)["collages"]
    disguised, variants = converted["disguised"], converted["photos"]
    has_class = np.array([bool(CLASSES_OF[photo.folder]) for photo in photos])
    classed = [photo for photo in photos if CLASSES_OF[photo.folder]]
    folders, counts = np.unique([photo.folder for photo in classed], return_counts=True)
    # Folders are drawn almost equally often: a small one counts, but is not learnt by heart.
    chance_of = dict(zip(folders, counts**-0.75, strict=True))
    chances = np.array([chance_of[photo.folder] for photo in classed])
    return Mixture(
        disguised,
        variants[has_class],
        targets_of(classed),
        allowed_of(classed),
        chances / chances.sum(),
        variants[~has_class],
        collages,
    )


def _disguised(numbered: tuple[int, NDArray[np.uint8]], seed: int) -> NDArray[np.uint8]:
    number, image = numbered
    rng = np.random.default_rng([seed, number])
    picture = disguise(image, str(rng.choice(list(GROUNDS))), str(rng.choice(list(GARMENTS))), rng)
    return convert_upload(picture).image


def _collage(number: int, photos: Sequence[Photo], seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng([seed, number])
    chosen = rng.choice(len(photos), rng.integers(1, MOST_PIECES + 1))
    pictures = [np.asarray(decode_photo(photos[number]).convert("RGB")) for number in chosen]
    return convert(Image.fromarray(collage(pictures, rng)), Mode.AUTO).image


def _variants(photo: Photo, config: PhotoConfig, seed: int) -> NDArray[np.uint8]:
    """Convert a photograph and distorted versions of it, uint8 `[1 + variants, 28, 28]`."""
    rng = np.random.default_rng([seed, *photo.path.name.encode()])
    colours = np.asarray(decode_photo(photo).convert("RGB"))
    paired_share = config.paired_share if photo.folder == SHOES else 0.0
    distorted = (_variant(colours, paired_share, config, rng) for _ in range(config.variants))
    return np.stack([convert_photo(photo).image, *distorted])


def _variant(
    colours: NDArray[np.uint8], paired_share: float, config: PhotoConfig, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Convert a photograph, uint8 `[height, width, 3]`, as another camera or another segmenter might have left it."""
    if rng.random() < paired_share:
        colours = np.concatenate([colours, colours[:, ::-1]], axis=1)
    picture = Image.fromarray(distort(colours, config.distortion, rng))
    separator = partial(separate_badly, rng=rng) if rng.random() < config.misjudged_share else separate
    return convert(picture, Mode.AUTO, separator=separator).image
