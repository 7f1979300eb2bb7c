"""The model card: what an artifact is, and the digests that say it is still that."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

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
    """A part of the card: immutable, and refused when a field is unknown or missing."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FolderMetrics(CardPart):
    """How one kind of photographs fares: how many there are, and of how many the most probable class is right."""

    n: int
    right: int


class PhotoMetrics(CardPart):
    """What the model learnt from photographs, and what was measured on others of the same collection.

    Attributes:
        digest: SHA-256 over the names and bytes of all photographs, learnt from and held out, in order.
        learnt_from: Number of photographs in training.
        held_out: Number of photographs measured, none of them learnt from.
        accuracy: Share of these whose most probable class is among the right ones of their folder.
        accuracy_interval_95: Wilson score interval of that share.
        folders: The same for each kind of garment.
        told_apart: For kinds of several classes, those photographs that were given one by eye, and got it. Empty in
            older cards.
        ece_equal_mass: Expected calibration error in 15 bins that hold equally many, over the photographs of which one
            class alone is right; None in older cards.
        segmenter: SHA-256 of the network that found the garments; None in older cards.
    """

    digest: Digest
    learnt_from: int
    held_out: int
    accuracy: Share
    accuracy_interval_95: tuple[Share, Share]
    folders: dict[str, FolderMetrics]
    told_apart: dict[str, FolderMetrics] = {}
    ece_equal_mass: Share | None = None
    segmenter: Digest | None = None


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


class SplitMetrics(CardPart):
    """What was measured on one split with the exported graph.

    Attributes:
        n: Number of images.
        accuracy: Share of images whose most probable class is the true one.
        accuracy_interval_95: Wilson score interval of that share.
        negative_log_likelihood: Mean over the images, in nats.
        brier_score: Mean squared distance of the probabilities from the truth, 0 to 2.
        ece_equal_mass: Expected calibration error over 15 bins of as many images each: the mean distance of the most
            probable class's probability from the share of right answers.
        ece_equal_width: The same over 15 bins of equal width.
        classes: Precision and recall, in label order.
        confusion: How many images of each true class (row) got each label (column); None on cards of before.
        reliability: The bins of `ece_equal_mass`, least probable first; None likewise.
    """

    n: int
    accuracy: Share
    accuracy_interval_95: tuple[Share, Share]
    negative_log_likelihood: float
    brier_score: float
    ece_equal_mass: Share
    ece_equal_width: Share
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...] | None = None
    reliability: tuple[ReliabilityBin, ...] | None = None


class SharpeningFacts(CardPart):
    """How logits become probabilities: label smoothing is undone, or a temperature and a bend applied.

    Attributes:
        label_smoothing: Share of the training targets that was spread evenly over all labels.
        kept: How much of the smoothed answer is kept, so that no label is impossible.
        temperature: What the logarithms are divided by; 1 where label smoothing was undone.
        bend: What their squares are multiplied by before they are taken away.
    """

    label_smoothing: Share
    kept: float
    temperature: float
    bend: float = 0.0


class PredictionSetFacts(CardPart):
    """The threshold that makes prediction sets, and how these fare on the test split.

    Attributes:
        coverage: How often a set is to hold the true label, on images like those of the data set.
        threshold: The least probability of a label in a set; the most probable label is in it in any case.
        test_coverage: Share of the test images whose set holds the true label.
        test_mean_size: Mean number of labels in a set.
        test_worst_class: The label whose images are covered least.
        test_worst_class_coverage: How often these are.
        photos_coverage: Share of the photographs held out whose set holds a right label; None without photographs.
    """

    coverage: Share
    threshold: Share
    test_coverage: Share
    test_mean_size: float
    test_worst_class: str
    test_worst_class_coverage: Share
    photos_coverage: Share | None = None


class SeparationFacts(CardPart):
    """How well images of something else are told from those of the test split.

    Attributes:
        images: What they show.
        n: How many there are.
        auroc: Chance that one of them is less familiar than a test image.
        auroc_max_softmax: The same of the probability of the most probable class, the usual baseline.
        flagged: Share of them that is called unfamiliar.
    """

    images: str
    n: int
    auroc: Share
    auroc_max_softmax: Share
    flagged: Share


class FamiliarityFacts(CardPart):
    """When an image is called unfamiliar, and how right that is.

    Attributes:
        threshold: The least familiarity of what is called familiar.
        flagged: Share of the images called unfamiliar, by split, of what is not.
        separations: The same for images that are.
    """

    threshold: Share
    flagged: dict[str, Share]
    separations: tuple[SeparationFacts, ...]


class TrainingFacts(CardPart):
    """How the model came to be.

    Attributes:
        config: The whole training config.
        epochs: Epochs trained, fewer than the config's where training stopped early.
        minutes: Wall-clock time of training, without the export.
        machine: Processor and number of cores used.
        versions: Versions of Python and of the libraries that trained and exported.
        data_digests: SHA-256 of each uncompressed data file.
    """

    config: dict[str, Any]
    epochs: int
    minutes: float
    machine: str
    versions: dict[str, str]
    data_digests: dict[str, Digest]

    @property
    def teachers(self) -> int:
        """How many earlier models it learnt from."""
        return len((self.config.get("distillation") or {"teachers": ()})["teachers"])


class GoldenExample(CardPart):
    """One image with the answer that the exported graph gave to it.

    Attributes:
        image: Base64 of 784 bytes, row by row.
        probabilities: float32 `[10]`, in label order.
        familiarity: 0 to 1.
    """

    image: str
    probabilities: tuple[Share, ...]
    familiarity: Share

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
    """The JSON beside the weights.

    Attributes:
        name: Name of the model.
        version: Its version, the name of its folder.
        labels: Class names; the position is the class id.
        input_shape: Height and width of an image.
        files: SHA-256 of every other file of the artifact, by path relative to it.
        network: Size of the network.
        metrics: What was measured on the data set, by split.
        photos: What was measured on photographs; None when nothing was learnt from any.
        sharpening: How logits become calibrated probabilities inside the graph.
        prediction_sets: The coverages that a service can be set to, lowest first.
        familiarity: When an image is called unfamiliar.
        training: How the model came to be.
        golden_set: Images whose answers a loaded model must give again.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    input_shape: tuple[int, int]
    files: dict[str, Digest]
    network: NetworkFacts
    metrics: dict[str, SplitMetrics]
    photos: PhotoMetrics | None = None
    sharpening: SharpeningFacts
    prediction_sets: tuple[PredictionSetFacts, ...]
    familiarity: FamiliarityFacts
    training: TrainingFacts
    golden_set: tuple[GoldenExample, ...]

    @property
    def segmenter(self) -> str | None:
        """SHA-256 of the network whose garments the model learnt from, if it did and is not older than this."""
        return self.photos.segmenter if self.photos else None

    def write(self, folder: Path) -> None:
        """Write the card into an artifact's folder."""
        (folder / CARD_NAME).write_text(self.model_dump_json(indent=2) + "\n")


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
        card = ModelCard.model_validate_json(path.read_bytes())
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
