"""The model card: what an artifact is, and the digests that say it is still that."""

from __future__ import annotations

import base64
import hashlib
import math
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from app.errors import StartError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CARD_NAME = "model_card.json"
IMAGE_SHAPE = (28, 28)
"""Height and width of the images a model takes."""

Share = Annotated[float, Field(ge=0, le=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class CardPart(BaseModel):
    """A part of the card: immutable."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class FolderMetrics(CardPart):
    """How one kind of photographs fares: how many there are, and of how many the most probable class is right."""

    n: int
    right: int


class Collection(CardPart):
    """Where photographs are from, and under which license (an SPDX identifier)."""

    name: str
    url: str
    license: str


class PhotoMetrics(CardPart):
    """What the model learnt from photographs, and what was measured on others of the same collection."""

    digest: Digest
    """SHA-256 over the names and bytes of all photographs, learnt from and held out, in order."""
    collection: Collection | None = None
    """What has that digest; null where the job knows none, and in older cards."""
    learnt_from: int
    """Number of photographs in training."""
    held_out: int
    """Number of photographs measured, none of them learnt from."""
    accuracy: Share
    """Share of these whose most probable class is among the right ones of their folder."""
    accuracy_interval_95: tuple[Share, Share]
    """Wilson score interval of that share."""
    folders: dict[str, FolderMetrics]
    """The same for each kind of garment."""
    told_apart: dict[str, FolderMetrics] = {}
    """For each class given by eye to photographs of kinds of several: how many were given it, and how many got it. By
    kind in older cards, empty in still older ones."""
    one_label: FolderMetrics | None = None
    """How many have one right label alone, by eye where their folder has several, and how many got it; null in older
    cards."""
    accuracy_alone: Share | None = None
    """The same share by the network alone, without the look in colour; null in older cards."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """What the logarithms are divided by where network and look in colour come together; 1 in older cards. It is fitted
    to the photographs held out, and each fifth of them is measured at the temperature of the others."""
    negative_log_likelihood: float | None = None
    """Mean over the photographs, in nats, of all classes together that are right for one; null in older cards."""
    ece_equal_mass: Share | None = None
    """Expected calibration error in 15 bins that hold equally many, over the photographs of which one class alone is
    right; null in older cards."""
    ece_by_chance: Share | None = None
    """What that error would be on average were these probabilities perfectly calibrated; null in older cards."""
    segmenter: Digest | None = None
    """SHA-256 of the network that found the garments; null in older cards."""
    recogniser: Digest | None = None
    """SHA-256 of the network that looked at the photographs held out in colour; null in older cards, whose figures are
    without one."""


class NetworkFacts(CardPart):
    """The size of the network; `multiply_accumulates` are for one image."""

    name: str
    parameters: int
    multiply_accumulates: int


class ClassMetrics(CardPart):
    """How one class fares: the share of its predictions that are right, and of its images that are found."""

    label: str
    precision: Share
    recall: Share


class ReliabilityBin(CardPart):
    """Images of alike probability: their share of all, the mean probability given, and how often it was right."""

    share: Share
    confidence: Share
    accuracy: Share


class CalibrationMetrics(CardPart):
    """Whether probabilities mean what they say."""

    negative_log_likelihood: float
    """Mean over the images, in nats."""
    brier_score: float
    """Mean squared distance of the probabilities from the truth, 0 to 2."""
    ece_equal_mass: Share
    """Expected calibration error over 15 bins of as many images each: the mean distance of the most probable class's
    probability from the share of right answers."""
    ece_equal_width: Share
    """The same over 15 bins of equal width."""


class SplitMetrics(CalibrationMetrics):
    """What was measured on one split with the exported graph."""

    n: int
    """Number of images."""
    accuracy: Share
    """Share of images whose most probable class is the true one."""
    accuracy_interval_95: tuple[Share, Share]
    """Wilson score interval of that share."""
    classes: tuple[ClassMetrics, ...]
    """Precision and recall, in label order."""
    confusion: tuple[tuple[int, ...], ...] | None = None
    """How many images of each true class (row) got each label (column); null in older cards."""
    reliability: tuple[ReliabilityBin, ...] | None = None
    """The bins of `ece_equal_mass`, least probable first; null likewise."""


class DamageMetrics(CardPart):
    """How images fare that were damaged to one degree."""

    strength: float
    """In the unit of that damage."""
    accuracy: Share
    """Share of images whose most probable class is the true one."""
    ece_equal_mass: Share
    """Expected calibration error over 15 bins of as many images each."""
    flagged: Share | None = None
    """Share that is called unfamiliar; null in older cards."""


class SharpeningFacts(CardPart):
    """How logits become probabilities: label smoothing is undone, or a temperature and a bend applied."""

    label_smoothing: Share
    """Share of the training targets that was spread evenly over all labels."""
    kept: float
    """How much of the smoothed answer is kept, so that no label is impossible."""
    temperature: float
    """What the logarithms are divided by; 1 where label smoothing was undone."""
    bend: float = 0.0
    """What their squares are multiplied by before they are taken away."""


class PredictionSetFacts(CardPart):
    """The threshold that makes prediction sets, and how these fare on the test split."""

    coverage: Share
    """How often a set is to hold the true label, on images like those of the data set."""
    threshold: Share
    """The least probability of a label in a set; the most probable label is in it in any case."""
    test_coverage: Share
    """Share of the test images whose set holds the true label."""
    test_mean_size: float
    """Mean number of labels in a set."""
    test_worst_class: str
    """The label whose images are covered least."""
    test_worst_class_coverage: Share
    """How often these are."""
    photos_threshold: Share | None = None
    """The threshold for photographs that are looked at in colour, fitted to those held out; null without any and in
    older cards, where theirs is that of all."""
    photos_coverage: Share | None = None
    """Share of the photographs held out whose set holds a label that is right for them, by eye where their folder has
    several, each fifth at the threshold of the others; null without photographs. In older cards any label of the folder
    counts."""
    photos_mean_size: float | None = None
    """Mean number of labels in their sets; null without photographs, and in older cards."""


class SeparationFacts(CardPart):
    """How well images of something else are told from those of the test split."""

    images: str
    """What they show."""
    n: int
    """How many there are."""
    auroc: Share
    """Chance that one of them is less familiar than a test image."""
    auroc_max_softmax: Share
    """The same of the probability of the most probable class, the usual baseline."""
    flagged: Share
    """Share of them that is called unfamiliar."""


class FamiliarityFacts(CardPart):
    """When an image is called unfamiliar, and how right that is."""

    threshold: Share
    """The least familiarity of what is called familiar."""
    flagged: dict[str, Share]
    """Share of the images called unfamiliar, by split, of what is not."""
    separations: tuple[SeparationFacts, ...]
    """The same for images that are."""


class TrainingFacts(CardPart):
    """How the model came to be."""

    config: dict[str, Any]
    """The whole training config."""
    epochs: int
    """Epochs trained, fewer than the config's where training stopped early."""
    minutes: float
    """Wall-clock time of training, without the export."""
    machine: str
    """Processor and number of cores used."""
    versions: dict[str, str]
    """Versions of Python and of the libraries that trained and exported."""
    data_digests: dict[str, Digest]
    """SHA-256 of each uncompressed data file."""

    @property
    def teachers(self) -> int:
        """How many earlier models it learnt from."""
        return len((self.config.get("distillation") or {"teachers": ()})["teachers"])

    @property
    def continued(self) -> bool:
        """Whether it began with the weights of the first of these."""
        return bool((self.config.get("distillation") or {}).get("continued"))


class GoldenExample(CardPart):
    """One image with the answer that the exported graph gave to it."""

    image: str
    """Base64 of 784 bytes, row by row."""
    probabilities: tuple[Share, ...]
    """float32 `[10]`, in label order."""
    familiarity: Share
    """0 to 1."""

    @field_validator("image")
    @classmethod
    def _require_all_pixels(cls, image: str) -> str:
        if (count := len(base64.b64decode(image))) != math.prod(IMAGE_SHAPE):
            msg = f"expected {math.prod(IMAGE_SHAPE)} bytes in base64, found {count}"
            raise ValueError(msg)
        return image

    @classmethod
    def of(
        cls, image: NDArray[np.uint8], probabilities: NDArray[np.float32], familiarity: float | np.float32
    ) -> GoldenExample:
        """Make an example of an image, uint8 `[28, 28]`, its probabilities, float32 `[10]`, and its familiarity."""
        return cls(
            image=base64.b64encode(image.tobytes()).decode(),
            probabilities=tuple(map(float, probabilities)),
            familiarity=float(familiarity),
        )

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The image as uint8 `[28, 28]`."""
        return np.frombuffer(base64.b64decode(self.image), np.uint8).reshape(IMAGE_SHAPE)


class ModelCard(CardPart):
    """The JSON beside the weights."""

    name: str
    """Name of the model."""
    version: str
    """Its version, the name of its folder."""
    labels: tuple[str, ...]
    """Class names; the position is the class id."""
    input_shape: tuple[int, int]
    """Height and width of an image."""
    files: dict[str, Digest]
    """SHA-256 of every other file of the artifact, by path relative to it."""
    network: NetworkFacts
    """Size of the network."""
    metrics: dict[str, SplitMetrics]
    """What was measured on the data set, by split."""
    uncalibrated: CalibrationMetrics | None = None
    """The same of the test split before the probabilities were calibrated; null in older cards."""
    corruptions: dict[str, tuple[DamageMetrics, ...]] = {}
    """What damage to the test images costs, by its kind with the unit of its strengths, weakest first; empty in older
    cards."""
    photos: PhotoMetrics | None = None
    """What was measured on photographs; null when nothing was learnt from any."""
    sharpening: SharpeningFacts
    """How logits become calibrated probabilities inside the graph."""
    prediction_sets: tuple[PredictionSetFacts, ...]
    """The coverages that a service can be set to, lowest first."""
    familiarity: FamiliarityFacts
    """When an image is called unfamiliar."""
    training: TrainingFacts
    """How the model came to be."""
    golden_set: Annotated[tuple[GoldenExample, ...], Field(min_length=1)]
    """Images whose answers a loaded model must give again."""

    @model_validator(mode="after")
    def _require_a_probability_for_each_label(self) -> Self:
        for number, example in enumerate(self.golden_set):
            if len(example.probabilities) != len(self.labels):
                msg = f"expected a probability of golden image {number} for each of the {len(self.labels)} labels, "
                msg += f"found {len(example.probabilities)}"
                raise ValueError(msg)
        return self

    @property
    def segmenter(self) -> str | None:
        """SHA-256 of the network whose garments the model learnt from, if it did and is not older than this."""
        return self.photos.segmenter if self.photos else None

    @property
    def recogniser(self) -> str | None:
        """SHA-256 of the network with which the model was measured on photographs, likewise."""
        return self.photos.recogniser if self.photos else None

    @property
    def photo_temperature(self) -> float:
        """What the logarithms are divided by where the model and a photograph's colours come together."""
        return self.photos.temperature if self.photos else 1.0

    def write(self, folder: Path) -> None:
        """Write the card into an artifact's folder, in one step: a kill leaves the card of before, or this one."""
        whole = folder.parent / f".{folder.name}-{CARD_NAME}"  # beside it: in the folder it would be on no card
        whole.write_text(self.model_dump_json(indent=2) + "\n")
        whole.replace(folder / CARD_NAME)


def read_verified(folder: Path) -> ModelCard:
    """Read the card of an artifact whose files are all there, all listed and all unchanged.

    A model is a program, so nothing of the folder is loaded before this returns.

    Args:
        folder: The artifact.

    Raises:
        StartError: The card is missing or not a card, or a file is missing, unreadable, changed or not listed.
    """
    path = folder / CARD_NAME
    try:
        # Strict about what is not known here alone: who reads the card of a newer service is not to mind.
        card = ModelCard.model_validate_json(path.read_bytes(), extra="forbid")
    except OSError as error:
        msg = f"{path}: expected a model card, found none ({error.strerror}); set FASHION_MODEL_DIR to an artifact"
        raise StartError(msg) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        msg = f"{path}: expected a model card, found {where}: {first['msg']}"
        raise StartError(msg) from error
    try:
        found = file_digests(folder)
    except OSError as error:  # which names the file it could not open, but none that it could not read on
        msg = f"{error.filename or folder}: expected to read it, found {error.strerror}"
        raise StartError(msg) from error
    for name in sorted(card.files.keys() | found.keys()):
        expected = f"SHA-256 {card.files[name]}" if name in card.files else "no such file, it is not on the card"
        received = f"SHA-256 {found[name]}" if name in found else "no such file"
        if expected != received:
            msg = f"{folder / name}: expected {expected}, found {received}"
            raise StartError(msg)
    return card


def file_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder but the card, by relative path.

    Raises:
        OSError: One cannot be read.
    """
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / CARD_NAME
    }
