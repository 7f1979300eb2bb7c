"""Renders a model card as a page that a user can read in two minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.model_card import DamageMetrics
from training.markdown import table
from training.pictures.unfamiliar import NEW_KINDS
from training.trust.corruptions import cell, header, label
from training.trust.photo_metrics import constant_answers

if TYPE_CHECKING:
    from app.model_card import (
        CalibrationMetrics,
        FamiliarityFacts,
        FolderMetrics,
        ModelCard,
        PhotoMetrics,
        PredictionSetFacts,
        SharpeningFacts,
        SplitMetrics,
        TrainingFacts,
    )

SEPARATION_COLUMNS = (
    "told from test images",
    "taught",
    "n",
    "AUROC",
    "AUROC of the highest probability",
    "called unfamiliar",
)

PHOTO_SETS = """\
Photographs that are looked at in colour have a threshold of their own, fitted to those held out; each fifth of them is
measured at the threshold fitted to the others. """

OTHER_TARGETS = """
Training is measured against softer targets than validation, teachers' answers or several labels at once. So its
loss is higher, and the curves are not comparable.
"""


def page(card: ModelCard) -> str:
    """Return the page as Markdown; it expects its pictures in the same folder."""
    training, network = card.training, card.network
    worst = min(card.metrics["test"].classes, key=lambda one: one.recall)
    return f"""# {card.name} {card.version}

**For** naming the garment in a picture that shows one garment, as one of ten kinds: {", ".join(card.labels)}.

**Not for** several garments at once, people wearing them, brands, sizes or anything else that is not on this list;
nor for decisions that matter unless a person checks them.

**Every answer says how far to trust it.** The probabilities are calibrated, and `prediction_set` holds the right label
at least about as often as asked for, both on average over images like those of the data set. `familiar` is false for
a picture unlike anything it was trained on.

- Network: `{network.name}`, {network.parameters:,} parameters
- Cost: {network.multiply_accumulates:,} multiply-accumulates per image
- Training: {_training(training)}
- Machine: {training.machine}

## How often it is right

{_splits(card.metrics)}

The intervals are Wilson's and cover the choice of images, not the choice of seed. No epoch was chosen on the test
split; for published models, training/README.md says how often it was evaluated, and what that changed.
{_photos(card.photos) if card.photos else ""}
## How it fails

Worst is {worst.label}: {1 - worst.recall:.0%} get another label.{_worst_folder(card.photos)}
A garment on its side or upside down mostly gets
another label{"" if card.corruptions else ", and so do many damaged 28x28 images"}.

{_classes(card.metrics["test"])}

![Confusion matrix](confusion.png)

Its most certain mistakes, each with the true class above it and the class it named in red:

![Most certain mistakes](mistakes.png)

Left half: test images classified correctly, drawn at random; right half: classified wrongly.

![Test images with their probabilities](sheet.png)

{_corruptions(card) if card.corruptions else ""}## How sure it is

{_calibration(card)}

ECE is the expected calibration error in 15 bins. {_sharpening(card.sharpening)}, fitted on the
validation split.

![Reliability](reliability.png)

A prediction set contains every label whose probability reaches a threshold, and always the most probable one. The
threshold was fitted to the validation split (split-conformal), whose sets contain the true label as often as asked for.
The same images also calibrated the probabilities, so the same coverage of other images is not quite guaranteed.
{PHOTO_SETS if card.photos else ""}On the test split:

{_sets(card.prediction_sets, has_photos=card.photos is not None)}

## What it does not know

{_familiarity(card.familiarity, has_photos=card.photos is not None)}

The least familiar images of the test split:

![Least familiar images](unfamiliar.png)

## How it learnt

![Training curves](curves.png)
{OTHER_TARGETS if card.photos or card.training.teachers else ""}"""


def _training(training: TrainingFacts) -> str:
    taught = f", taught by {training.teachers} earlier models" if training.teachers else ""
    begun = ", starting from the weights of the first" if training.continued else ""
    return f"{training.epochs} epochs in {training.minutes:.0f} minutes, seed {training.config['seed']}{taught}{begun}"


def _splits(metrics: dict[str, SplitMetrics]) -> str:
    return table(
        ("split", "n", "accuracy", "95% interval"),
        (
            (name, f"{split.n:,}", f"{split.accuracy:.2%}", _interval(split.accuracy_interval_95, 2))
            for name, split in metrics.items()
        ),
    )


def _photos(photos: PhotoMetrics) -> str:
    return f"""
It was also trained on {photos.learnt_from:,} photographs{_collection(photos)}.
Of {photos.held_out} others of the same collection
{photos.accuracy:.1%} get a right first label, one of those that fit their folder (95% interval
{_interval(photos.accuracy_interval_95, 1)}). Where they helped to choose a model, the figure is slightly optimistic.
For the network alone, without their colours, it is {photos.accuracy_alone:.1%}.

{_folders(photos.folders)}
{_told_apart(photos) if photos.told_apart else ""}{_calibration_on_photos(photos)}"""


def _collection(photos: PhotoMetrics) -> str:
    if not (source := photos.collection):
        return ""
    return f" of [{source.name}]({source.url}) ({source.license})"


def _told_apart(photos: PhotoMetrics) -> str:
    return f"""
Where a folder allows several labels but, by eye, only one fits a photograph, the table shows how often it gets that
one. A constant answer is right as often as this: {constant_answers(photos.told_apart)}.

{_folders(photos.told_apart)}
"""


def _calibration_on_photos(photos: PhotoMetrics) -> str:
    one = photos.one_label
    if one is None:
        return ""
    return f"""
Over the {one.n} photographs for which exactly one label is right ({one.right / one.n:.1%} get it), the expected
calibration error is {photos.ece_equal_mass:.3f}; perfectly calibrated answers that are as sure would show
{photos.ece_by_chance:.3f}.
The temperature for combining the network and the colours, {photos.temperature:.2f}, is fitted to the photographs held
out; each fifth of them is measured at the temperature fitted to the others.
"""


def _folders(folders: dict[str, FolderMetrics]) -> str:
    rows = ((name, one.n, one.right, f"{one.right / one.n:.1%}") for name, one in folders.items())
    return table(("photographs of", "n", "right", "share"), rows)


def _worst_folder(photos: PhotoMetrics | None) -> str:
    if not photos:
        return ""
    name, counts = min(photos.folders.items(), key=lambda folder: folder[1].right / folder[1].n)
    return f" Among photographs it is {name}: {1 - counts.right / counts.n:.0%}."


def _classes(split: SplitMetrics) -> str:
    return table(
        ("class (test)", "precision", "recall"),
        ((row.label, f"{row.precision:.1%}", f"{row.recall:.1%}") for row in split.classes),
    )


def _corruptions(card: ModelCard) -> str:
    test = card.metrics["test"]
    undamaged = DamageMetrics(
        strength=0,
        accuracy=test.accuracy,
        ece_equal_mass=test.ece_equal_mass,
        flagged=card.familiarity.flagged.get("test"),
    )
    rows = ((label(kind, damaged), *map(cell, (undamaged, *damaged))) for kind, damaged in card.corruptions.items())
    return f"""Damaged test images, at 28x28 and without conversion: accuracy, expected calibration error,
share called unfamiliar.

{table(header("damage"), rows)}

"""


def _calibration(card: ModelCard) -> str:
    rows: list[tuple[str, int, CalibrationMetrics]] = [(name, one.n, one) for name, one in card.metrics.items()]
    if card.uncalibrated:
        rows.append(("test, before calibration", card.metrics["test"].n, card.uncalibrated))
    return table(
        ("split", "n", "ECE, bins of equal mass", "of equal width", "negative log-likelihood", "Brier score"),
        (
            (
                name,
                f"{n:,}",
                f"{one.ece_equal_mass:.4f}",
                f"{one.ece_equal_width:.4f}",
                f"{one.negative_log_likelihood:.4f}",
                f"{one.brier_score:.4f}",
            )
            for name, n, one in rows
        ),
    )


def _sharpening(facts: SharpeningFacts) -> str:
    if facts.label_smoothing:
        return f"The label smoothing of the training is undone; what is kept of it is {facts.kept:.3f}"
    return f"Log probabilities are divided by {facts.temperature:.3f}, less {facts.bend:.3f} of their squares"


def _sets(fitted: tuple[PredictionSetFacts, ...], *, has_photos: bool) -> str:
    columns = (
        *("asked for", "least probability", "true label inside", "mean size", "worst class"),
        *("photographs: least probability", "right label inside", "mean size"),
    )
    rows = (
        (
            f"{one.coverage:.0%}",
            f"{one.threshold:.4f}",
            f"{one.test_coverage:.2%}",
            f"{one.test_mean_size:.2f}",
            f"{one.test_worst_class} {one.test_worst_class_coverage:.1%}",
            "" if one.photos_threshold is None else f"{one.photos_threshold:.4f}",
            "" if one.photos_coverage is None else f"{one.photos_coverage:.1%}",
            "" if one.photos_mean_size is None else f"{one.photos_mean_size:.2f}",
        )
        for one in fitted
    )
    shown = None if has_photos else -3
    return table(columns[:shown], (row[:shown] for row in rows))


def _familiarity(facts: FamiliarityFacts, *, has_photos: bool) -> str:
    alike = " and other photographs of the same kinds" if has_photos else ""
    false_alarms = ", ".join(f"{share:.1%} of {name}" for name, share in facts.flagged.items())
    rows = (
        (
            one.images,
            "no" if one.images in NEW_KINDS else "yes",
            f"{one.n:,}",
            f"{one.auroc:.4f}",
            f"{one.auroc_max_softmax:.4f}",
            f"{one.flagged:.1%}",
        )
        for one in facts.separations
    )
    return f"""`familiarity` is the share of validation images that are less typical than an image. Below
{facts.threshold:g} the image is called unfamiliar. False alarms: {false_alarms}.
AUROC is the chance that an image of something else is less familiar than a test image; beside it is the same with the
highest probability as the score. The model was taught to call some of these kinds unfamiliar, with training images
altered in the same way{alike}. The others were not taught; but handwritten digits
helped to choose the score, so their figure is optimistic, and the training has seen characters in another font.

{table(SEPARATION_COLUMNS, rows)}"""


def _interval(interval: tuple[float, float], digits: int) -> str:
    return " to ".join(f"{share:.{digits}%}" for share in interval)
