"""`python -m benchmarks.calibration`: how well is a model calibrated, and what is gained over a temperature alone?

Calibrations are compared, each fitted to one half of the validation images and measured on the other, in several draws
of the halves; then the artifact itself is measured on the test split.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from scipy.optimize import minimize_scalar

from app.classifier import SavedModel
from app.errors import StartError
from app.model_card import read_verified
from app.settings import Settings
from training.command import positive
from training.config import DEFAULTS
from training.data import find_folder, load
from training.errors import TrainingError
from training.markdown import table
from training.network import build, mirrored
from training.trust.calibrate import Sharpening, fit_sharpening
from training.trust.evaluate import in_batches, measure_calibration
from training.trust.reliability import error_by_chance, negative_log_likelihood
from training.weights import load_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from training.config import Network

    Fit = Callable[[NDArray[np.float32], float, NDArray[np.uint8]], Sharpening]


COLUMNS = ("negative log-likelihood", "ECE, equal mass", "by chance", "ECE, equal width", "by chance")
CHANCE_DRAWS = 100
SURE = 0.99
"""The probability from which an answer counts as sure."""


def temperature(logits: NDArray[np.float32], class_ids: NDArray[np.uint8]) -> Sharpening:
    """Fit a temperature alone, whose logarithm is searched from 0.05 to 20."""

    def divided(logarithm: float) -> Sharpening:
        return Sharpening(0.0, temperature=float(np.exp(logarithm)))

    def loss(logarithm: float) -> float:
        return negative_log_likelihood(np.asarray(divided(logarithm)(logits)), class_ids)

    return divided(minimize_scalar(loss, bounds=np.log([0.05, 20]), method="bounded").x)


FITS: dict[str, Fit] = {
    "nothing": lambda _logits, _label_smoothing, _class_ids: Sharpening(0.0),
    "a temperature": lambda logits, _label_smoothing, class_ids: temperature(logits, class_ids),
    "as shipped": fit_sharpening,
}
"""What can be fitted, each from logits, the training's label smoothing, and the true classes."""


def measure(
    fit: Fit, logits: NDArray[np.float32], label_smoothing: float, class_ids: NDArray[np.uint8], draws: int
) -> NDArray[np.float64]:
    """Fit to one half and measure on the other, in several draws.

    Args:
        fit: One of `FITS`.
        logits: float32 `[n, 10]` of images that the network was not trained on.
        label_smoothing: Label smoothing that the network was trained with.
        class_ids: uint8 `[n]`, the true classes.
        draws: How often the halves are drawn; the first draw has seed 0.

    Returns:
        float64 `[draws, 5]`: what `score` returns for each draw.
    """
    scores = []
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(len(logits))
        fitted_to, measured_on = np.array_split(order, 2)
        sharpening = fit(logits[fitted_to], label_smoothing, class_ids[fitted_to])
        scores.append(score(np.asarray(sharpening(logits[measured_on])), class_ids[measured_on]))
    return np.array(scores)


def score(probabilities: NDArray[np.float32], class_ids: NDArray[np.uint8]) -> tuple[float, ...]:
    """Return the values of `COLUMNS` for probabilities, float32 `[n, 10]`, and the true classes, uint8 `[n]`."""
    measured = measure_calibration(probabilities, class_ids)
    return (
        measured.negative_log_likelihood,
        measured.ece_equal_mass,
        error_by_chance(probabilities, "mass", CHANCE_DRAWS),
        measured.ece_equal_width,
        error_by_chance(probabilities, "width", CHANCE_DRAWS),
    )


def surest(probabilities: NDArray[np.float32], class_ids: NDArray[np.uint8]) -> tuple[int, int, float]:
    """Count the answers of `SURE` or more and the wrong ones among them, and add up their chances of being wrong."""
    most = probabilities.max(axis=1)
    is_sure = most >= SURE
    wrong = probabilities.argmax(axis=1) != class_ids
    return int(is_sure.sum()), int(wrong[is_sure].sum()), float((1 - most[is_sure]).sum())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("--model", type=Path, default=Settings().model_dir, metavar="FOLDER")
    parser.add_argument("--draws", type=positive, default=8, metavar="N", help="draws of the halves (default: 8)")
    given = parser.parse_args()
    try:
        card = read_verified(given.model)
        config = card.training.config
        data = load(find_folder(), config["split_seed"])
        network = build(DEFAULTS[cast("Network", card.network.name)])
        load_weights(network, given.model)
    except (StartError, TrainingError) as error:
        parser.error(str(error))
    answering = mirrored(network) if config["mirror"] else network
    logits = answering.predict(data.validation.images, batch_size=500, verbose=0)
    smoothing, true = config["label_smoothing"], data.validation.class_ids
    scores = {name: measure(fit, logits, smoothing, true, given.draws).mean(axis=0) for name, fit in FITS.items()}
    answers = in_batches(SavedModel(given.model).classify, data.test.images).probabilities
    scores[f"the artifact, on all {len(answers):,} of the test split"] = score(answers, data.test.class_ids)
    print(f"{card.name} {card.version}, {len(true) // 2:,} validation images, mean of {given.draws} draws\n")
    print(table(("fitted", *COLUMNS), ((name, *(f"{one:.4f}" for one in row)) for name, row in scores.items())))
    n, wrong, expected = surest(answers, data.test.class_ids)
    print(f"\nOf the artifact's {n:,} answers of {SURE} or more, {wrong} are wrong; {expected:.1f} would be expected.")


if __name__ == "__main__":
    main()
