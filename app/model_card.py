"""The model card: what an artifact is, and the digests that show it is unchanged."""

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
    """Results for one kind of photograph: how many there are, and for how many the most probable class is right."""

    n: int
    right: int


class Collection(CardPart):
    """Where photographs come from, and their license (an SPDX identifier)."""

    name: str
    url: str
    license: str


class PhotoMetrics(CardPart):
    """What the model learnt from photographs, and its results on others of the same collection."""

    digest: Digest
    """SHA-256 over the names and bytes of all photographs, those in training and those held out, in order."""
    collection: Collection | None = None
    """The collection with that digest; null if the training job knows none, and in older cards."""
    learnt_from: int
    """Number of photographs in training."""
    held_out: int
    """Number of photographs measured, none of which was used in training."""
    accuracy: Share
    """Share of these whose most probable class is one of those that are right for their folder."""
    accuracy_interval_95: tuple[Share, Share]
    """Wilson score interval of that share."""
    folders: dict[str, FolderMetrics]
    """Number of these and number right, for each kind of garment."""
    told_apart: dict[str, FolderMetrics] = {}
    """For each class assigned by eye to photographs whose folder allows several: how many were assigned it, and how
    many of these the model got right. By kind in older cards, empty in still older ones."""
    one_label: FolderMetrics | None = None
    """How many photographs have exactly one right label, assigned by eye if their folder allows several, and how many
    of these the model got right; null in older cards."""
    accuracy_alone: Share | None = None
    """`accuracy` of the network alone, without the second one, which looks at colours; null in older cards."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """What the logarithms are divided by when the answers of the two networks are combined; 1 in older cards. Fitted to
    the held-out photographs, and each fifth of them is measured at the temperature fitted to the others."""
    negative_log_likelihood: float | None = None
    """Mean over the photographs, in nats, with the probabilities of all right classes added up; null in older cards."""
    ece_equal_mass: Share | None = None
    """Expected calibration error over 15 bins of equally many photographs, for those with exactly one right class; null
    in older cards."""
    ece_by_chance: Share | None = None
    """Mean of that error if these probabilities were perfectly calibrated; null in older cards."""
    segmenter: Digest | None = None
    """SHA-256 of the network that located the garments; null in older cards."""
    recogniser: Digest | None = None
    """SHA-256 of the network that looked at the held-out photographs in colour; null in older cards, whose figures were
    measured without one."""


class NetworkFacts(CardPart):
    """The size of the network; `multiply_accumulates` is for one image."""

    name: str
    parameters: int
    multiply_accumulates: int


class ClassMetrics(CardPart):
    """Results for one class: the share of its predictions that are right, and that of its images that are found."""

    label: str
    precision: Share
    recall: Share


class ReliabilityBin(CardPart):
    """Images of similar probability: their share of all, the mean probability given, and how often it was right."""

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
    """Expected calibration error over 15 bins of equally many images: the mean distance between the probability of the
    most probable class and the share of right answers."""
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
    """The bins of `ece_equal_mass`, least probable first; null in older cards."""


class DamageMetrics(CardPart):
    """Results for images that were damaged to one degree."""

    strength: float
    """Strength of the damage, in its unit."""
    accuracy: Share
    """Share of images whose most probable class is the true one."""
    ece_equal_mass: Share
    """Expected calibration error over 15 bins of equally many images."""
    flagged: Share | None = None
    """Share of images that are called unfamiliar; null in older cards."""


class SharpeningFacts(CardPart):
    """How logits become probabilities: label smoothing is undone, or a temperature and a bend are applied."""

    label_smoothing: Share
    """Share of the training targets that was spread evenly over all labels."""
    kept: float
    """How much of the smoothed answer is kept, so that no label is impossible."""
    temperature: float
    """What the logarithms are divided by; 1 if label smoothing was undone."""
    bend: float = 0.0
    """What the squares of the logarithms are multiplied by before they are subtracted."""


class PredictionSetFacts(CardPart):
    """The threshold that defines prediction sets, and the results of these sets on the test split."""

    coverage: Share
    """How often a set should contain the true label, for images like those of the data set."""
    threshold: Share
    """Minimum probability of a label in a set; the most probable label is always included."""
    test_coverage: Share
    """Share of the test images whose set contains the true label."""
    test_mean_size: float
    """Mean number of labels in a set."""
    test_worst_class: str
    """The label whose images are covered least often."""
    test_worst_class_coverage: Share
    """How often its images are covered."""
    photos_threshold: Share | None = None
    """The threshold for photographs that are looked at in colour, fitted to the held-out ones; null without any and in
    older cards, where `threshold` applies to all pictures."""
    photos_coverage: Share | None = None
    """Share of the held-out photographs whose set contains a right label, the one assigned by eye if their folder
    allows several; null without photographs. Each fifth is measured at the threshold fitted to the others. In older
    cards any label of the folder counts."""
    photos_mean_size: float | None = None
    """Mean number of labels in the sets of these photographs; null without photographs, and in older cards."""


class SeparationFacts(CardPart):
    """How well images of something else are distinguished from those of the test split."""

    images: str
    """What these images show."""
    n: int
    """Number of these images."""
    auroc: Share
    """Probability that one of these images is less familiar than a test image, or than what `images` says."""
    auroc_max_softmax: Share
    """The same for the probability of the most probable class, the usual baseline."""
    flagged: Share
    """Share of these images that are called unfamiliar."""


class FamiliarityFacts(CardPart):
    """When an image is called unfamiliar, and how often that is right."""

    threshold: Share
    """Minimum familiarity of an image that is called familiar."""
    flagged: dict[str, Share]
    """False alarms: share called unfamiliar, by split, and of held-out photographs of known clothes."""
    separations: tuple[SeparationFacts, ...]
    """Results for images that are unfamiliar."""


class TrainingFacts(CardPart):
    """How the model came to be."""

    config: dict[str, Any]
    """The whole training config."""
    epochs: int
    """Epochs trained, fewer than the config's if training stopped early."""
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
        """Number of earlier models that the model learnt from."""
        return len((self.config.get("distillation") or {"teachers": ()})["teachers"])

    @property
    def continued(self) -> bool:
        """Whether training started from the weights of the first of these."""
        return bool((self.config.get("distillation") or {}).get("continued"))


class GoldenExample(CardPart):
    """One image with the answer that the exported graph gave."""

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
    """The same for the test split before the probabilities were calibrated; null in older cards."""
    corruptions: dict[str, tuple[DamageMetrics, ...]] = {}
    """Results for damaged test images, by the kind of damage with the unit of its strengths, weakest first; empty in
    older cards."""
    photos: PhotoMetrics | None = None
    """What was measured on photographs; null if none were used in training."""
    sharpening: SharpeningFacts
    """How logits become calibrated probabilities inside the graph."""
    prediction_sets: tuple[PredictionSetFacts, ...]
    """The coverages that a service can be set to, lowest first."""
    familiarity: FamiliarityFacts
    """When an image is called unfamiliar."""
    training: TrainingFacts
    """How the model came to be."""
    golden_set: Annotated[tuple[GoldenExample, ...], Field(min_length=1)]
    """Images for which a loaded model must reproduce the recorded answers."""

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
        """SHA-256 of the network that located the garments in photographs; None without these and in older cards."""
        return self.photos.segmenter if self.photos else None

    @property
    def recogniser(self) -> str | None:
        """SHA-256 of the network that looked at photographs in colour; None without these and in older cards."""
        return self.photos.recogniser if self.photos else None

    @property
    def photo_temperature(self) -> float:
        """What the logarithms are divided by when the model and a photograph's colours are combined."""
        return self.photos.temperature if self.photos else 1.0

    def sets_for(self, coverage: float) -> PredictionSetFacts:
        """Look up the thresholds that were fitted for a coverage.

        Raises:
            StartError: None were fitted for it.
        """
        fitted = {one.coverage: one for one in self.prediction_sets}
        if coverage not in fitted:
            msg = f"FASHION_COVERAGE: expected one of {', '.join(map(str, fitted))}, for which the model was fitted, "
            msg += f"found {coverage}"
            raise StartError(msg)
        return fitted[coverage]

    def write(self, folder: Path) -> None:
        """Write the card into an artifact's folder atomically: a killed process leaves the old card or this one."""
        whole = folder.parent / f".{folder.name}-{CARD_NAME}"  # not in the folder, whose files must all be on the card
        whole.write_text(self.model_dump_json(indent=2) + "\n")
        whole.replace(folder / CARD_NAME)


def read_verified(folder: Path) -> ModelCard:
    """Read the card of an artifact, and verify that its files are all present, listed and unchanged.

    A model is a program, so nothing in the folder is loaded before this returns.

    Args:
        folder: The artifact.

    Raises:
        StartError: The card is missing or invalid, or a file is missing, unreadable, changed or not listed.
    """
    path = folder / CARD_NAME
    try:
        # Unknown fields are refused only here: a client that reads the card of a newer service must not fail.
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
    except OSError as error:  # names a file that could not be opened, but not one that failed while being read
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
    """Return the SHA-256 of every file below a folder except the card, by relative path.

    Raises:
        OSError: A file cannot be read.
    """
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / CARD_NAME
    }
