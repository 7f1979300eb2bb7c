from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

import training.network
import training.pictures.augmentation
import training.train
from training.config import DEFAULTS, PhotoConfig
from training.data import one_hot
from training.errors import TrainingError
from training.pictures.augmentation import batches
from training.pictures.mixture import Mixture, Teaching
from training.train import (
    SETTLING_BATCHES,
    OneCycle,
    SetCrossentropy,
    read_history,
    run_folder,
    settle,
    train,
)

if TYPE_CHECKING:
    from training.config import TrainingConfig
    from training.data import Data

# Every mechanism of the cnn's recipe, on a network that trains in a second; `Kill(epoch=2)` stops it in the
# second epoch without cutout.
RECIPE = DEFAULTS["cnn"].override(
    network="mlp", batch_size=50, epochs=4, learning_rate=0.05, averaging=0.9, uncut_share=0.75
)
BASELINE = DEFAULTS["mlp"].override(batch_size=50, epochs=4)


def weights(network: keras.Model) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in network.get_weights()]


class Killed(Exception):  # noqa: N818  not an error: someone pressed a key
    """Stands in for whatever ends a job."""


class Kill(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Ends a run in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.now = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        if self.now == self.epoch and batch == 2:
            raise Killed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a run that is killed closes nothing
@pytest.mark.parametrize("config", [RECIPE, BASELINE], ids=["one-cycle", "baseline"])
def test_a_stopped_run_resumes_and_ends_like_an_unbroken_one(
    data: Data, tmp_path: Path, config: TrainingConfig
) -> None:
    unbroken, history = train(config, data, tmp_path / "unbroken")
    with pytest.raises(Killed):
        train(config, data, tmp_path / "stopped", [Kill(epoch=2)])
    assert len(read_history(tmp_path / "stopped")) == 2
    resumed, resumed_history = train(config, data, tmp_path / "stopped")
    assert [epoch.epoch for epoch in resumed_history] == [epoch.epoch for epoch in history] == [0, 1, 2, 3]
    assert [epoch.val_accuracy for epoch in resumed_history] == [epoch.val_accuracy for epoch in history]
    for ours, theirs in zip(weights(resumed), weights(unbroken), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a run that is killed closes nothing
def test_a_run_whose_files_were_torn_names_what_to_delete_or_forgets_the_torn_line(data: Data, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(RECIPE, data, tmp_path, [Kill(epoch=2)])
    with (tmp_path / "history.csv").open("a") as history:
        history.write("2,0.5,")
    _, epochs = train(RECIPE, data, tmp_path)
    assert [epoch.epoch for epoch in epochs] == [0, 1, 2, 3]
    assert all(epoch.seconds > 0 for epoch in epochs)
    (tmp_path / "finished.weights.h5").unlink()
    checkpoint = tmp_path / "checkpoint.weights.h5"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=f"{checkpoint}: expected a whole checkpoint, found .*; delete {tmp_path} "):
        train(RECIPE, data, tmp_path)


@pytest.mark.parametrize("config", [RECIPE, BASELINE], ids=["one-cycle", "baseline"])
def test_a_run_killed_after_its_last_epoch_ends_like_an_unbroken_one(
    data: Data, tmp_path: Path, config: TrainingConfig
) -> None:
    unbroken, _ = train(config.override(epochs=2), data, tmp_path)
    (tmp_path / "finished.weights.h5").unlink()
    again, history = train(config.override(epochs=2), data, tmp_path)
    assert len(history) == 2
    for ours, theirs in zip(weights(again), weights(unbroken), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)


def test_a_finished_run_is_read_back_without_training(data: Data, tmp_path: Path) -> None:
    first, history = train(BASELINE, data, tmp_path)
    with (tmp_path / "history.csv").open("a") as file:
        file.write("4,0.5,")  # torn
    second, same = train(BASELINE, data, tmp_path, [Kill(epoch=0)])
    assert same == history
    assert all(map(np.array_equal, weights(first), weights(second)))


def test_what_is_mixed_in_decides_the_folder_of_a_run(data: Data, tmp_path: Path) -> None:
    """A new segmenter or other teachers change the images and targets: earlier weights must not be reused."""
    images, row = np.zeros((1, 28, 28), np.uint8), np.zeros((1, 10), np.float32)
    taught = Teaching(row, row[None], images, row)
    nothing = Mixture.of_nothing()
    mixtures = [
        None,
        nothing,
        replace(nothing, disguised=images),
        replace(nothing, photos=images[None]),
        *(replace(nothing, teaching=teaching) for teaching in (taught, replace(taught, targets=row + 1))),
        replace(nothing, teaching=replace(taught, photo_targets=row[None] + 1)),
        replace(nothing, teaching=replace(taught, blend_targets=row + 1)),
    ]
    folders = [[run_folder(tmp_path, RECIPE, data, mixture) for mixture in mixtures] for _ in range(2)]
    assert folders[0] == folders[1]
    assert len({*folders[0]}) == len(mixtures)


def test_the_code_the_config_and_the_data_decide_the_folder_of_a_run(data: Data, tmp_path: Path) -> None:
    modules = (training.train, training.network, training.pictures.augmentation)
    assert {Path(str(module.__file__)) for module in modules} <= {*training.train.CODE}
    fewer = replace(data, train=data.train.take(slice(299)))
    taught = RECIPE.override(photos=PhotoConfig())
    runs = [
        *((config, data) for config in (RECIPE, RECIPE.override(seed=1), BASELINE, taught)),
        (RECIPE.override(photos=PhotoConfig(share=0.4)), data),
        (RECIPE, fewer),
        (RECIPE, replace(data, validation=data.test)),
    ]
    folders = {run_folder(tmp_path, config, learnt, None) for config, learnt in runs}
    assert len(folders) == len(runs)
    assert all(folder.name.startswith("mlp-") for folder in folders)
    exported_otherwise = taught.override(photos=PhotoConfig(collages=3), mirror=not taught.mirror)
    assert run_folder(tmp_path, exported_otherwise, data, None) in folders


def test_the_same_seed_trains_the_same_network_and_another_seed_another(data: Data, tmp_path: Path) -> None:
    one, again, other = (
        weights(train(RECIPE.override(epochs=1, seed=seed), data, tmp_path / name)[0])
        for name, seed in (("one", 1), ("again", 1), ("other", 2))
    )
    assert one[0] == pytest.approx(again[0], abs=1e-6)
    assert one[0] != pytest.approx(other[0], abs=1e-3)


def test_training_learns(data: Data, tmp_path: Path) -> None:
    _, history = train(BASELINE.override(epochs=15), data, tmp_path)
    assert history[-1].loss < history[0].loss / 2
    assert history[-1].val_accuracy > 0.6
    assert all(epoch.seconds > 0 for epoch in history)


class Average(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Averages the weights over the steps independently, and keeps the last weights as they are."""

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay, self.averages = decay, list[np.ndarray]()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.last = [np.array(weight) for weight in self.model.trainable_variables]
        before = self.averages or self.last
        self.averages = [self.decay * one + (1 - self.decay) * new for one, new in zip(before, self.last, strict=True)]


def test_averaged_weights_are_the_ones_that_are_measured_and_kept(data: Data, tmp_path: Path) -> None:
    average = Average(RECIPE.averaging)
    network, history = train(RECIPE, data, tmp_path, [average])
    for kept, averaged, last in zip(weights(network), average.averages, average.last, strict=True):
        assert kept == pytest.approx(averaged, abs=1e-5)
        assert kept != pytest.approx(last, abs=1e-3)
    right = network.predict(data.validation.images, verbose=0).argmax(axis=1) == data.validation.class_ids
    assert right.mean() == pytest.approx(history[-1].val_accuracy)


def test_normalisation_keeps_the_mean_statistics_of_the_batches_it_is_settled_on() -> None:
    normalising, next_one = (keras.layers.BatchNormalization(momentum=0.5) for _ in range(2))
    network = keras.Sequential([keras.Input((2,)), normalising, next_one])
    batches = [np.full((4, 2), 1, np.uint8), np.array([[2, 4], [4, 8]], np.uint8)]
    settle(network, [(batch, batch) for batch in batches])
    assert np.asarray(normalising.moving_mean) == pytest.approx([2, 3.5])
    assert np.asarray(normalising.moving_variance) == pytest.approx([0.5, 2])
    assert np.asarray(next_one.moving_variance) == pytest.approx([0.5, 0.5], abs=0.01)  # 0 in the first, then 1
    assert (normalising.momentum, next_one.momentum) == (0.5, 0.5)


def test_a_network_with_normalisation_is_settled_on_augmented_batches_once(data: Data, tmp_path: Path) -> None:
    config = DEFAULTS["tiny"].override(batch_size=10, epochs=1)
    network, _ = train(config, data, tmp_path)
    first = next(layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization))
    made = batches(data.train.images, one_hot(data.train.class_ids), config, first_epoch=1)
    images = np.concatenate([images for images, _ in islice(made, SETTLING_BATCHES)])
    normalised = keras.Model(network.input, first.input).predict(images, verbose=0)
    assert np.asarray(first.moving_mean) == pytest.approx(normalised.mean(axis=(0, 1, 2), dtype=float), rel=1e-4)
    again, _ = train(config, data, tmp_path)
    assert all(map(np.array_equal, weights(again), weights(network)))


def test_only_kernels_decay() -> None:
    config = DEFAULTS["tiny"].override(warmup=0.0, averaging=0.0, weight_decay=0.1)
    network = training.train.compiled(config, steps=10)
    before = weights(network)
    network.optimizer.apply(
        [keras.ops.zeros_like(variable) for variable in network.trainable_variables], network.trainable_variables
    )
    shrunk = [variable.path.endswith("kernel") for variable in network.weights]
    assert any(shrunk)
    for old, new, is_kernel in zip(before, weights(network), shrunk, strict=True):
        assert np.array_equal(new, old) is not is_kernel


def test_training_in_bfloat16_gives_a_float32_network(data: Data, tmp_path: Path) -> None:
    network, _ = train(RECIPE.override(epochs=1, precision="mixed_bfloat16"), data, tmp_path)
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_fewer_images_than_a_batch_are_refused(data: Data, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="at least one batch of 301 images, received 300"):
        train(BASELINE.override(batch_size=301), data, tmp_path)


def test_the_one_cycle_rate_climbs_to_its_peak_and_falls_to_zero() -> None:
    schedule = OneCycle(peak=0.4, warmup=0.25, steps=100)
    rates = [float(schedule(step)) for step in (0, 25, 62.5, 100)]
    assert rates == pytest.approx([0, 0.4, 0.2, 0], abs=1e-6)
    assert float(OneCycle.from_config(schedule.get_config())(10)) == float(schedule(10))


def loss_of(targets: list[float], logits: list[float], label_smoothing: float = 0.1) -> float:
    return float(SetCrossentropy(label_smoothing)(np.array([targets], np.float32), np.array([logits], np.float32)))


def test_the_loss_of_one_right_label_is_plain_cross_entropy() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (20, 10)).astype(np.float32)
    targets = np.eye(10, dtype=np.float32)[np.arange(20) % 10]
    plain = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    assert float(SetCrossentropy(0.1)(targets, logits)) == pytest.approx(float(plain(targets, logits)), rel=1e-5)


def test_a_sure_answer_of_one_of_several_right_labels_costs_nothing_more() -> None:
    assert loss_of([0.5, 0.5, 0], [9, 0, 0]) == pytest.approx(loss_of([1, 0, 0], [9, 0, 0]), abs=0.01)
    assert loss_of([0.5, 0.5, 0], [0, 9, 0]) == pytest.approx(loss_of([0, 1, 0], [0, 9, 0]), abs=0.01)
    assert loss_of([0.5, 0.5, 0], [0, 0, 9]) > 5


def test_the_loss_stays_finite_when_the_network_is_sure_of_something_wrong() -> None:
    assert np.isfinite(loss_of([0.5, 0.5, 0], [-500, -600, 500]))
