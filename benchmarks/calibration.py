"""`python -m benchmarks.calibration`: what does the calibration gain over a temperature alone, and over none?

Each is fitted to one half of the validation images and measured on the other, in several draws of the halves.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from scipy.optimize import minimize_scalar

from app.errors import StartError
from app.model_card import read_verified
from app.settings import Settings
from training.calibrate import Sharpening, fit_sharpening
from training.config import DEFAULTS
from training.data import find_folder, load
from training.errors import TrainingError
from training.markdown import table
from training.network import build, mirrored
from training.reliability import error_by_chance, expected_calibration_error, negative_log_likelihood
from training.weights import load_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from training.config import Network

    Fit = Callable[[NDArray[np.float32], float, NDArray[np.uint8]], Sharpening]


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
        float64 `[draws, 4]`: the negative log-likelihood, the expected calibration error in bins of equal mass and of
        equal width, and what the error of equal mass would be by chance.
    """
    rows = []
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(len(logits))
        fitted_to, measured_on = np.array_split(order, 2)
        sharpening = fit(logits[fitted_to], label_smoothing, class_ids[fitted_to])
        probabilities, true = np.asarray(sharpening(logits[measured_on])), class_ids[measured_on]
        right = probabilities.argmax(axis=1) == true
        rows.append(
            (
                negative_log_likelihood(probabilities, true),
                expected_calibration_error(probabilities, right, "mass"),
                expected_calibration_error(probabilities, right, "width"),
                error_by_chance(probabilities, "mass", 100),
            )
        )
    return np.array(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("--model", type=Path, default=Settings().model_dir, metavar="FOLDER")
    parser.add_argument("--draws", type=int, default=8, metavar="N", help="draws of the halves (default: 8)")
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
    print(f"{card.name} {card.version}, {len(logits) // 2:,} validation images, mean of {given.draws} draws\n")
    measured = {
        name: measure(fit, logits, config["label_smoothing"], data.validation.class_ids, given.draws)
        for name, fit in FITS.items()
    }
    rows = [(name, *(f"{mean:.4f}" for mean in means.mean(axis=0))) for name, means in measured.items()]
    print(table(("fitted", "negative log-likelihood", "ECE, equal mass", "ECE, equal width", "by chance"), rows))


if __name__ == "__main__":
    main()
