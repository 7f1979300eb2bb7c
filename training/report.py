"""Draws the pictures of a model's report, and writes the page that shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from training.data import LABELS
from training.page import page
from training.trust.reliability import expected_calibration_error, reliability

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from app.model_card import ModelCard
    from training.train import Epoch
    from training.trust.evaluate import Evaluation

MIXED = {
    "accuracy": "training, augmented:\nagreement with the target's likeliest label",
    "loss": "training, augmented:\nagainst softer targets, so not comparable",
}
"""What the curves of training show where targets are more than a label each."""
SHEET_ROWS, SHEET_COLUMNS = 4, 4
RIGHT_COLOUR, WRONG_COLOUR, OTHER_COLOUR = "#2a7f62", "#c8452f", "#b8bec6"


def write_report(
    folder: Path, card: ModelCard, history: list[Epoch], test: Evaluation, uncalibrated: NDArray[np.float32]
) -> None:
    """Write `README.md` and its pictures.

    Args:
        folder: Created if missing; files of an earlier report are overwritten.
        card: The numbers on the page.
        history: The epochs shown in the curves.
        test: The answers shown in all other pictures.
        uncalibrated: float32 `[n, 10]`, the probabilities of the same images before calibration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in {
        "curves": draw_curves(history, mixed=bool(card.training.config["photos"] or card.training.teachers)),
        "confusion": draw_confusion(test.confusion),
        "reliability": draw_reliability(test, uncalibrated),
        "sheet": draw_sheet(test, *_drawn(test, card.training.config["seed"])),
        "mistakes": draw_sheet(test, *_halves(_most_certain_mistakes(test))),
        "unfamiliar": draw_sheet(test, *_halves(np.argsort(test.answers.familiarity, kind="stable"))),
    }.items():
        figure.savefig(folder / f"{name}.png", dpi=110)
    (folder / "README.md").write_text(page(card))


def draw_curves(history: list[Epoch], *, mixed: bool) -> Figure:
    """Draw training and validation accuracy and loss over the epochs.

    Args:
        history: The epochs.
        mixed: Whether targets may be several labels or teachers' answers. If so, training accuracy is how often the
            network names the likeliest label, and training loss is against these targets; neither is comparable with
            validation.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    epochs = [entry.epoch + 1 for entry in history]
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        label = MIXED[name] if mixed else "training, augmented"
        axes.plot(epochs, [getattr(entry, name) for entry in history], label=label, color=OTHER_COLOUR)
        axes.plot(epochs, [getattr(entry, f"val_{name}") for entry in history], label="validation", color=RIGHT_COLOUR)
        axes.set(xlabel="epoch", title=name)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def draw_confusion(confusion: NDArray[np.intp]) -> Figure:
    """Draw a confusion matrix, `[10, 10]` counts, shaded by the share of each true class."""
    figure = Figure(figsize=(8, 7), layout="constrained")
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(np.sqrt(shares), cmap="Greens", vmin=0, vmax=1)  # the root makes rare mistakes visible
    for (row, column), count in np.ndenumerate(confusion):
        dark = shares[row, column] > 0.4  # noqa: PLR2004  where white text reads better than black
        axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black", fontsize=9)
    axes.set_xticks(range(len(LABELS)), LABELS, rotation=45, ha="right")
    axes.set_yticks(range(len(LABELS)), LABELS)
    axes.set(xlabel="predicted", ylabel="true", title="Test images")
    return figure


def draw_reliability(test: Evaluation, uncalibrated: NDArray[np.float32]) -> Figure:
    """Draw accuracy against confidence in bins of equal mass, before and after calibration."""
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.subplots()
    right = test.predicted == test.split.class_ids
    answers = {"before": (uncalibrated, WRONG_COLOUR), "after": (test.answers.probabilities, RIGHT_COLOUR)}
    for name, (probabilities, colour) in answers.items():
        _, confidence, accuracy = reliability(probabilities, right, "mass").T
        error = expected_calibration_error(probabilities, right, "mass")
        axes.plot(confidence, accuracy, "o-", color=colour, label=f"{name} calibration, ECE {error:.4f}")
    axes.axline((1, 1), slope=1, color=OTHER_COLOUR, zorder=0)
    axes.set(xlabel="probability of the most probable class", ylabel="share of right answers", title="Test images")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def draw_sheet(test: Evaluation, left: NDArray[np.intp], right: NDArray[np.intp]) -> Figure:
    """Draw test images beside their ten probabilities: the first few of `left` and, on the other side, of `right`."""
    each = SHEET_ROWS * SHEET_COLUMNS // 2
    figure = Figure(figsize=(15, 9), layout="constrained")
    grid = figure.subplots(SHEET_ROWS, SHEET_COLUMNS * 2, width_ratios=[2, 3] * SHEET_COLUMNS)
    for axes in grid.flat:
        axes.set_axis_off()
    half = SHEET_COLUMNS // 2
    for group, first_column in ((left, 0), (right, half)):
        for place, index in enumerate(group[:each]):
            row, column = place // half, 2 * (first_column + place % half)
            _draw_answer(grid[row, column], grid[row, column + 1], test, int(index))
    return figure


def _drawn(test: Evaluation, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices of right and of wrong answers, each shuffled."""
    rng = np.random.default_rng(seed)
    is_right = test.predicted == test.split.class_ids
    return rng.permutation(np.flatnonzero(is_right)), rng.permutation(np.flatnonzero(~is_right))


def _most_certain_mistakes(test: Evaluation) -> NDArray[np.intp]:
    mistakes = np.flatnonzero(test.predicted != test.split.class_ids)
    return mistakes[np.argsort(-test.answers.probabilities.max(axis=1)[mistakes], kind="stable")]


def _halves(ranked: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Divide a ranking so that a sheet continues in its right half where the left half ends."""
    half = SHEET_ROWS * SHEET_COLUMNS // 2
    return ranked[:half], ranked[half:]


def _draw_answer(picture: Axes, bars: Axes, test: Evaluation, index: int) -> None:
    true, predicted = int(test.split.class_ids[index]), int(test.predicted[index])
    picture.imshow(test.split.images[index], cmap="gray", vmin=0, vmax=255)
    picture.set_title(f"#{index}: {LABELS[true]}", fontsize=7)
    colours = [OTHER_COLOUR] * len(LABELS)
    colours[predicted] = WRONG_COLOUR
    colours[true] = RIGHT_COLOUR
    bars.set_axis_on()
    bars.barh(range(len(LABELS)), test.answers.probabilities[index], color=colours)
    bars.set(xlim=(0, 1), xticks=[])
    bars.set_yticks(range(len(LABELS)), LABELS, fontsize=7)
    bars.invert_yaxis()
    bars.spines[["top", "right", "bottom"]].set_visible(False)
