"""Trains a network, epoch by epoch, from where an equal run stopped."""

from __future__ import annotations

import csv
import logging
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from tqdm.keras import TqdmCallback

from training.augmentation import batches
from training.data import one_hot
from training.errors import TrainingError
from training.fingerprint import code, fingerprint
from training.network import build
from training.weights import load_weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from training.config import TrainingConfig
    from training.data import Data
    from training.mixture import Mixture

CODE = (
    *code("train.py", "network.py", "weights.py", "augmentation.py", "mixture.py", "distillation.py", "config.py"),
    f"keras {keras.__version__}",
    f"tensorflow {tf.__version__}",
)
"""What decides, beside data, what a run learns; `mixture` and `distillation` draw from what they hold."""

SETTLING_BATCHES = 200
"""Over so many augmented batches the statistics of batch normalisation are taken, once training is over."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch measured; `accuracy` and `loss` are on augmented batches, `val_*` on the validation split.

    Where photographs or teachers' answers are mixed in, `accuracy` is agreement with the likeliest label of the target.
    """

    epoch: int
    accuracy: float
    loss: float
    val_accuracy: float
    val_loss: float
    seconds: float


def run_folder(runs: Path, config: TrainingConfig, data: Data, mixture: Mixture | None) -> Path:
    """Return where a run keeps what it has done; whatever its weights depend on makes it another run.

    Args:
        runs: Folder of all runs.
        config: What is trained.
        data: What is learnt from, and what chooses the epoch that is kept.
        mixture: Counts with every image and target in it, so with the segmenter and the teachers behind them.
    """
    splits = (array for split in (data.train, data.validation) for array in (split.images, split.class_ids))
    return runs / f"{config.run_name}-{fingerprint(*splits, *(mixture.drawn if mixture else ()), *CODE)}"


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
        data: Learns from `train`, measures each epoch on `validation`; `test` is not touched.
        run: Folder for checkpoints and the history, that of `run_folder`. A run that was stopped goes on after its last
            whole epoch, a finished one is read back without training.
        callbacks: Told of each batch and epoch besides.
        mixture: What to mix into the batches when the config says so, and what to begin with.

    Returns:
        The network with the weights to keep, and one entry an epoch.

    Raises:
        DataError: It is to begin with the weights of another network.
        TrainingError: There are fewer images than a batch takes.
    """
    run.mkdir(parents=True, exist_ok=True)
    finished = run / "finished.weights.h5"
    network = build(config)
    if finished.exists():
        logger.info("this run is finished already; delete %s to train it again", run)
        network.load_weights(finished)
    else:
        kept = _fit(config, data, run, callbacks, mixture)
        network.load_weights(kept)
        settle(network, islice(_batches(config, data, config.epochs, mixture), SETTLING_BATCHES))
        partial = run / "partial.weights.h5"
        network.save_weights(partial, overwrite=True)
        partial.replace(finished)
    return network, read_history(run)


def settle(network: keras.Model, batches: Iterable[tuple[NDArray[np.uint8], np.ndarray]]) -> None:
    """Give the network's batch normalisation the mean statistics of batches, in place.

    What it keeps while training are those of the last few batches, under weights that have been averaged since: chance
    alone moves the validation accuracy by a tenth of a point. They have to be of augmented batches, as it learnt from.

    Args:
        network: Its weights stay as they are.
        batches: Each counts alike.

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
    """Read the epochs of a run in order; an epoch that was trained twice because of a stop counts as last trained."""
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
) -> Path:
    """Train to the end and return the file with the weights to keep."""
    steps = len(data.train) // config.images_a_batch
    if not steps:
        msg = (
            f"expected at least one batch of {config.images_a_batch} images, received {len(data.train)} training images"
        )
        raise TrainingError(msg)
    keras.utils.set_random_seed(config.seed)
    network = compiled(config, steps)
    if mixture and mixture.lessons and mixture.lessons.begin:
        load_weights(network, mixture.lessons.begin)
    checkpoint = Checkpoint(run / "checkpoint.weights.h5")
    first_epoch = checkpoint.restore(network) // steps
    patience = Patience(config.patience, read_history(run)[:first_epoch])
    kept = run / ("best.weights.h5" if config.patience else "last.weights.h5")
    network.fit(
        _batches(config, data, first_epoch, mixture),
        steps_per_epoch=steps,
        initial_epoch=first_epoch,
        epochs=first_epoch if patience.is_over else config.epochs,
        validation_data=(data.validation.images, one_hot(data.validation.class_ids)),
        validation_batch_size=1000,
        shuffle=False,  # `batches` does
        verbose=0,
        callbacks=[
            *callbacks,
            Stopwatch(),
            *_weight_keepers(config, kept, patience),
            keras.callbacks.CSVLogger(str(run / "history.csv"), append=True),
            TqdmCallback(),
            # Last, so that whatever else an epoch writes is there once the epoch counts as done.
            checkpoint,
        ],
    )
    if not config.patience:
        network.save_weights(kept)
    return kept


def _batches(
    config: TrainingConfig, data: Data, first_epoch: int, mixture: Mixture | None
) -> Iterator[tuple[NDArray[np.uint8], np.ndarray]]:
    return batches(data.train.images, one_hot(data.train.class_ids), config, first_epoch, mixture)


def compiled(config: TrainingConfig, steps: int) -> keras.Model:
    """Build the config's network, ready for epochs of so many steps."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    network = build(config)
    keras.config.set_dtype_policy(before)
    network.compile(
        optimizer=_optimizer(config, steps),
        loss=_loss(config),
        metrics=["accuracy"],
        jit_compile=False,  # XLA's convolutions take 1.6 times (float32) to 2.7 times (bfloat16) as long on a CPU
    )
    return network


def _loss(config: TrainingConfig) -> keras.losses.Loss:
    """Teachers settle the share of each label; without them a set of labels moves to where the network leans."""
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


def _weight_keepers(config: TrainingConfig, kept: Path, patience: Patience) -> list[keras.callbacks.Callback]:
    if config.patience:
        return [
            keras.callbacks.ModelCheckpoint(
                kept,
                monitor="val_accuracy",
                save_best_only=True,
                save_weights_only=True,
                initial_value_threshold=patience.best_before,
            ),
            patience,
        ]
    # Validation sees the averaged weights; when training ends Keras leaves them in the network.
    return [keras.callbacks.SwapEMAWeights()] if config.averaging else []


class SetCrossentropy(keras.losses.Loss):  # type: ignore[misc]  # Keras ships no types
    """Cross-entropy where several labels may be right: the target moves to those that the network leans to.

    A row of one label is plain cross-entropy. Were the labels of a set to stay alike, the halves of a sure answer could
    both lie under a third label.

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
    """A rate that climbs linearly from zero to its peak and falls linearly to zero.

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
    """Saves weights and optimizer after each epoch in one file that is always whole.

    Keras' own BackupAndRestore writes the file in place and learns the epoch only once `fit` has begun, too late for
    the generator of batches.
    """

    def __init__(self, path: Path) -> None:
        """Take the file to write."""
        super().__init__()
        self.path = path

    def restore(self, network: keras.Model) -> int:
        """Load the file into a compiled network if there is one, and return the steps it has taken."""
        if not self.path.exists():
            return 0
        network.optimizer.build(network.trainable_variables)
        network.load_weights(self.path)
        return int(network.optimizer.iterations.numpy())

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002  Keras' signature
        """Write beside the file, then replace it."""
        partial = self.path.with_name("partial.weights.h5")
        self.model.save_weights(partial, overwrite=True)
        partial.replace(self.path)


class Patience(keras.callbacks.EarlyStopping):  # type: ignore[misc]  # Keras ships no types
    """Early stopping on the validation accuracy that counts the epochs before a resume as well.

    Keras' own begins anew with each `fit`, so that a run that was stopped would train for longer than an unbroken one.
    """

    def __init__(self, patience: int, before: Sequence[Epoch]) -> None:
        """Take how many epochs may pass without a better one, 0 for any number, and those that have passed."""
        super().__init__(monitor="val_accuracy", patience=patience)
        accuracies = [epoch.val_accuracy for epoch in before]
        self.best_before = max(accuracies, default=0.0)
        self.waited_before = len(accuracies) - 1 - accuracies.index(self.best_before) if accuracies else 0

    @property
    def is_over(self) -> bool:
        """Whether the epochs before have used it up."""
        return bool(0 < self.patience <= self.waited_before)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Go on where the epochs before ended."""
        super().on_train_begin(logs)
        self.best, self.wait = self.best_before, self.waited_before


class Stopwatch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Adds the wall-clock seconds of each epoch, validation included, to its logs."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002  Keras' signature
        """Start."""
        self.started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:  # noqa: ARG002  Keras' signature
        """Stop."""
        logs["seconds"] = time.monotonic() - self.started
