"""Draws the report of a model: curves, confusion matrix, a sheet of answers, and the page that holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from training.data import LABELS

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from app.model_card import ModelCard, PhotoMetrics, SplitMetrics
    from training.evaluate import Evaluation
    from training.train import Epoch

SHEET_ROWS, SHEET_COLUMNS = 4, 4
RIGHT_COLOUR, WRONG_COLOUR, OTHER_COLOUR = "#2a7f62", "#c8452f", "#b8bec6"


def write_report(folder: Path, card: ModelCard, history: list[Epoch], test: Evaluation) -> None:
    """Write `README.md` and its pictures.

    Args:
        folder: Created when missing; files of an earlier report are overwritten.
        card: The numbers of the page.
        history: The curves.
        test: The confusion matrix and the sheet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in {
        "curves": draw_curves(history),
        "confusion": draw_confusion(test.confusion),
        "sheet": draw_sheet(test, seed=card.training.config["seed"]),
    }.items():
        figure.savefig(folder / f"{name}.png", dpi=110)
    (folder / "README.md").write_text(page(card))


def page(card: ModelCard) -> str:
    """Return the report's Markdown."""
    training, network = card.training, card.network
    splits = "\n".join(_split_row(name, split) for name, split in card.metrics.items())
    classes = "\n".join(
        f"| {row.label} | {row.precision:.1%} | {row.recall:.1%} |" for row in card.metrics["test"].classes
    )
    return f"""# {card.name} {card.version}

- Network: `{network.name}`, {network.parameters:,} parameters
- Cost: {network.multiply_accumulates:,} multiply-accumulates an image
- Training: {training.epochs} epochs in {training.minutes:.0f} minutes, seed {training.config["seed"]}
- Machine: {training.machine}

| split | n | accuracy | 95 % interval | negative log-likelihood |
| --- | ---: | ---: | --- | ---: |
{splits}

The interval is Wilson's and covers the choice of images, not the choice of seed. The temperature,
{card.temperature:.3f}, was fitted on the validation split; the test split chose nothing.

{_photos_part(card.photos) if card.photos else ""}![Training curves](curves.png)

| class (test) | precision | recall |
| --- | ---: | ---: |
{classes}

![Confusion matrix](confusion.png)

Left half: test images answered right, drawn at random; right half: answered wrong. Green is the true class.

![Test images with their probabilities](sheet.png)
"""


def draw_curves(history: list[Epoch]) -> Figure:
    """Draw accuracy and loss of training and validation against epochs."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    epochs = [entry.epoch + 1 for entry in history]
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        axes.plot(epochs, [getattr(entry, name) for entry in history], label="training, augmented", color=OTHER_COLOUR)
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


def draw_sheet(test: Evaluation, seed: int) -> Figure:
    """Draw test images beside their ten probabilities, right answers on the left and wrong ones on the right."""
    rng = np.random.default_rng(seed)
    is_right = test.predicted == test.split.class_ids
    each = SHEET_ROWS * SHEET_COLUMNS // 2
    right, wrong = (rng.permutation(np.flatnonzero(group))[:each] for group in (is_right, ~is_right))
    figure = Figure(figsize=(15, 9), layout="constrained")
    grid = figure.subplots(SHEET_ROWS, SHEET_COLUMNS * 2, width_ratios=[2, 3] * SHEET_COLUMNS)
    for axes in grid.flat:
        axes.set_axis_off()
    half = SHEET_COLUMNS // 2
    for group, first_column in ((right, 0), (wrong, half)):
        for place, index in enumerate(group):
            row, column = place // half, 2 * (first_column + place % half)
            _draw_answer(grid[row, column], grid[row, column + 1], test, int(index))
    return figure


def _draw_answer(picture: Axes, bars: Axes, test: Evaluation, index: int) -> None:
    true, predicted = int(test.split.class_ids[index]), int(test.predicted[index])
    picture.imshow(test.split.images[index], cmap="gray", vmin=0, vmax=255)
    picture.set_title(f"#{index}", fontsize=7)
    colours = [OTHER_COLOUR] * len(LABELS)
    colours[predicted] = WRONG_COLOUR
    colours[true] = RIGHT_COLOUR
    bars.set_axis_on()
    bars.barh(range(len(LABELS)), test.probabilities[index], color=colours)
    bars.set(xlim=(0, 1), xticks=[])
    bars.set_yticks(range(len(LABELS)), LABELS, fontsize=7)
    bars.invert_yaxis()
    bars.spines[["top", "right", "bottom"]].set_visible(False)


def _photos_part(photos: PhotoMetrics) -> str:
    low, high = photos.accuracy_interval_95
    rows = "\n".join(
        f"| {folder} | {one.n} | {one.right} | {one.right / one.n:.1%} |" for folder, one in photos.folders.items()
    )
    return f"""It learnt from {photos.learnt_from:,} photographs as well. Of {photos.held_out} others of the same
collection {photos.accuracy:.1%} are answered with a right label first (95 % interval {low:.1%} to {high:.1%}).

| photographs of | n | right | share |
| --- | ---: | ---: | ---: |
{rows}

"""


def _split_row(name: str, split: SplitMetrics) -> str:
    low, high = split.accuracy_interval_95
    loss = split.negative_log_likelihood
    return f"| {name} | {split.n:,} | {split.accuracy:.2%} | {low:.2%} to {high:.2%} | {loss:.4f} |"
