"""Trains a network, epoch by epoch, resuming where an identical run stopped."""

from __future__ import annotations

import csv
import logging
import time
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from tqdm.keras import TqdmCallback

from training.data import one_hot
from training.errors import TrainingError
from training.fingerprint import code, fingerprint
from training.network import build, precision
from training.pictures.augmentation import batches
from training.weights import load_weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from training.config import TrainingConfig
    from training.data import Data
    from training.pictures.mixture import Mixture

CODE = (
    *code("train.py", "network.py", "weights.py", "distillation.py", "config.py"),
    *code("pictures/augmentation.py", "pictures/mixture.py"),
    f"keras {keras.__version__}",
    f"tensorflow {tf.__version__}",
)
"""What a run's weights depend on besides config and data; `mixture` and `distillation` draw from their arrays."""

SETTLING_BATCHES = 200
"""Number of augmented batches from which the statistics of batch normalisation are taken after training."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch measured; `accuracy` and `loss` are on augmented batches, `val_*` on the validation split.

    Where photographs or teachers' answers are mixed in, `accuracy` is agreement with the target's likeliest label.
    """

    epoch: int
    accuracy: float
    loss: float
    val_accuracy: float
    val_loss: float
    seconds: float


def run_folder(runs: Path, config: TrainingConfig, data: Data, mixture: Mixture | None) -> Path:
    """Return the folder for a run's progress, which differs when anything that its weights depend on does.

    Args:
        runs: Folder of all runs.
        config: What to train.
        data: The splits to learn from, and to measure each epoch on.
        mixture: Counts with every image and target in it, and so with the segmenter and the teachers behind them.
    """
    # Neither changes the weights: the mirror image is for the exported model, collages teach the familiarity score.
    learnt = replace(config, mirror=False, photos=config.photos and replace(config.photos, collages=0))
    splits = (array for split in (data.train, data.validation) for array in (split.images, split.class_ids))
    drawn = mixture.drawn if mixture else ()
    return runs / f"{config.network}-{fingerprint(learnt, *splits, *drawn, *CODE)}"


def train(
    config: TrainingConfig,
    data: Data,
    run: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    mixture: Mixture | None = None,
) -> tuple[keras.Model, list[Epoch]]:
    """Train the config's network and return it in float32 with its history.

    Args:
        config: What to train.
        data: Training uses `train`, and measures each epoch on `validation`; `test` is not touched.
        run: Folder for checkpoints and the history, that of `run_folder`. A stopped run resumes after its last complete
            epoch; a finished one is read back without training.
        callbacks: Additional Keras callbacks.
        mixture: What to mix into the batches if the config says so, and the weights to start from.

    Returns:
        The network with the weights to keep, and one entry per epoch.

    Raises:
        DataError: The weights to start from are those of another network.
        TrainingError: There are too few images to fill a batch, or the checkpoint is damaged.
    """
    run.mkdir(parents=True, exist_ok=True)
    _drop_torn_line(run / "history.csv")
    finished = run / "finished.weights.h5"
    network = build(config)
    if finished.exists():
        logger.info("this run is finished already; delete %s to train it again", run)
        network.load_weights(finished)
    else:
        network.set_weights(_fit(config, data, run, callbacks, mixture).get_weights())
        settle(network, islice(_batches(config, data, config.epochs, mixture), SETTLING_BATCHES))
        partial = run / "partial.weights.h5"
        network.save_weights(partial, overwrite=True)
        partial.replace(finished)
    return network, read_history(run)


def settle(network: keras.Model, batches: Iterable[tuple[NDArray[np.uint8], np.ndarray]]) -> None:
    """Set the statistics of the network's batch normalisation to their mean over batches, in place.

    The statistics from training are those of the last few batches, and the weights have been averaged since: chance
    alone moves the validation accuracy by a tenth of a point. The batches have to be augmented as at the end of
    training: with nothing blanked.

    Args:
        network: Network whose other weights do not change.
        batches: Batches that all count equally.

    Source:
        Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization" (arXiv 1803.05407).
    """
    normalising = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in normalising]
    for number, (images, _) in enumerate(batches if normalising else ()):
        for layer in normalising:
            layer.momentum = number / (number + 1)
        network(images, training=True)
    for layer, momentum in zip(normalising, momenta, strict=True):
        layer.momentum = momentum


def read_history(run: Path) -> list[Epoch]:
    """Read the epochs of a run in order; for an epoch trained twice because of a stop, the last record counts."""
    path = run / "history.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = {int(row["epoch"]): row for row in csv.DictReader(file)}
    return [
        Epoch(epoch, **{name: float(row[name]) for name in Epoch.__dataclass_fields__ if name != "epoch"})
        for epoch, row in sorted(rows.items())
    ]


def _fit(
    config: TrainingConfig,
    data: Data,
    run: Path,
    callbacks: Sequence[keras.callbacks.Callback],
    mixture: Mixture | None,
) -> keras.Model:
    """Train to the end and return the network with the weights to keep."""
    steps = len(data.train) // config.images_a_batch
    if not steps:
        msg = (
            f"expected at least one batch of {config.images_a_batch} images, received {len(data.train)} training images"
        )
        raise TrainingError(msg)
    keras.utils.set_random_seed(config.seed)
    network = compiled(config, steps)
    if mixture and mixture.teaching and mixture.teaching.begin:
        load_weights(network, mixture.teaching.begin)
    checkpoint = Checkpoint(run / "checkpoint.weights.h5")
    first_epoch = checkpoint.restore(network) // steps
    network.fit(
        _batches(config, data, first_epoch, mixture),
        steps_per_epoch=steps,
        initial_epoch=first_epoch,
        epochs=config.epochs,
        validation_data=(data.validation.images, one_hot(data.validation.class_ids)),
        validation_batch_size=1000,
        shuffle=False,  # `batches` does
        verbose=0,
        callbacks=[
            *callbacks,
            Stopwatch(),
            # Validation uses the averaged weights, and Keras leaves them in the network when training ends.
            *([keras.callbacks.SwapEMAWeights()] if config.averaging else []),
            keras.callbacks.CSVLogger(str(run / "history.csv"), append=True),
            TqdmCallback(),
            # Last, so that everything else is written before the epoch counts as complete.
            checkpoint,
        ],
    )
    return network


def _drop_torn_line(history: Path) -> None:
    """Drop an incomplete last line, as a power failure may leave it, or the next epoch would be appended to it."""
    if history.exists():
        lines = history.read_bytes()
        history.write_bytes(lines[: lines.rfind(b"\n") + 1])


def _batches(
    config: TrainingConfig, data: Data, first_epoch: int, mixture: Mixture | None
) -> Iterator[tuple[NDArray[np.uint8], np.ndarray]]:
    return batches(data.train.images, one_hot(data.train.class_ids), config, first_epoch, mixture)


def compiled(config: TrainingConfig, steps: int) -> keras.Model:
    """Build and compile the config's network for epochs of `steps` batches."""
    with precision(config.precision):
        network = build(config)
    network.compile(
        optimizer=_optimizer(config, steps),
        loss=_loss(config),
        metrics=["accuracy"],
        jit_compile=False,  # XLA's convolutions take 1.6 times (float32) to 2.7 times (bfloat16) as long on a CPU
    )
    return network


def _loss(config: TrainingConfig) -> keras.losses.Loss:
    """Return the loss: teachers fix each label's share; without them, a set of labels follows the network's leaning."""
    if config.distillation:
        return keras.losses.CategoricalCrossentropy(from_logits=True)
    return SetCrossentropy(config.label_smoothing)


def _optimizer(config: TrainingConfig, steps: int) -> keras.optimizers.Optimizer:
    averaging = {"use_ema": config.averaging > 0, "ema_momentum": config.averaging}
    if config.optimizer == "adam":
        return keras.optimizers.Adam(config.learning_rate, **averaging)
    optimizer = keras.optimizers.SGD(
        OneCycle(config.learning_rate, config.warmup, steps * config.epochs),
        momentum=config.momentum,
        nesterov=True,
        weight_decay=config.weight_decay,
        **averaging,
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


class SetCrossentropy(keras.losses.Loss):  # type: ignore[misc]  # Keras ships no types
    """Cross-entropy where several labels may be right: the target moves to those that the network leans to.

    For a row with one label it is plain cross-entropy. If the labels of a set kept equal shares, a sure answer would be
    split between two of them, and a third label could exceed both halves.

    Source:
        Jin and Ghahramani, "Learning with Multiple Labels" (NIPS 2002): the expectation step, at every batch.
    """

    def __init__(self, label_smoothing: float) -> None:
        """Take the share of the target that is spread evenly over all labels."""
        super().__init__()
        self.label_smoothing = label_smoothing

    def call(self, targets: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each row.

        Args:
            targets: float32 `[n, 10]`, above 0 where a label is right.
            logits: float32 `[n, 10]`.
        """
        right = keras.ops.where(targets > 0, logits, -1e9)
        leaning = keras.ops.softmax(keras.ops.stop_gradient(right))
        smoothed = (1 - self.label_smoothing) * leaning + self.label_smoothing / targets.shape[-1]
        return keras.ops.categorical_crossentropy(smoothed, logits, from_logits=True)


@keras.saving.register_keras_serializable("training")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras ships no types
    """A learning rate that climbs linearly from zero to its peak and falls linearly to zero.

    Source:
        Smith and Topin, "Super-Convergence" (arXiv 1708.07120), without the final annihilation phase.
    """

    def __init__(self, peak: float, warmup: float, steps: int) -> None:
        """Take the highest rate, the share of all steps spent climbing, and the number of steps."""
        self.peak, self.warmup, self.steps = peak, warmup, steps

    def __call__(self, step: keras.KerasTensor) -> keras.KerasTensor:
        """Return the rate at a step, a scalar tensor."""
        done = keras.ops.cast(step, "float32") / self.steps
        climb = done / self.warmup if self.warmup else 1.0
        return self.peak * keras.ops.minimum(climb, (1 - done) / (1 - self.warmup))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"peak": self.peak, "warmup": self.warmup, "steps": self.steps}


class Checkpoint(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Saves weights and optimizer state after each epoch in one file that is always complete.

    Keras' own BackupAndRestore writes the file in place, and knows the epoch only once `fit` has begun, too late for
    the generator of batches.
    """

    def __init__(self, path: Path) -> None:
        """Take the path of the file to write."""
        super().__init__()
        self.path = path

    def restore(self, network: keras.Model) -> int:
        """Load the file, if there is one, into a compiled network, and return the number of steps taken so far.

        Raises:
            TrainingError: The file is damaged.
        """
        if not self.path.exists():
            return 0
        network.optimizer.build(network.trainable_variables)
        try:
            network.load_weights(self.path)
        except OSError as error:  # as a power failure may leave it
            msg = f"{self.path}: expected a whole checkpoint, found {error}; delete {self.path.parent} to begin again"
            raise TrainingError(msg) from error
        return int(network.optimizer.iterations.numpy())

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002  Keras' signature
        """Write a file beside the checkpoint, then replace the checkpoint with it."""
        partial = self.path.with_name("partial.weights.h5")
        self.model.save_weights(partial, overwrite=True)
        partial.replace(self.path)


class Stopwatch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Adds the wall-clock seconds of each epoch, validation included, to its logs."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002  Keras' signature
        """Start the clock."""
        self.started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:  # noqa: ARG002  Keras' signature
        """Stop the clock."""
        logs["seconds"] = time.monotonic() - self.started
