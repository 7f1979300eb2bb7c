from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from training.__main__ import main
from training.config import DEFAULTS, DistillationConfig, Network
from training.distillation import read_teacher, taught
from training.errors import DataError
from training.export import save_graph
from training.job import train_and_export
from training.network import build, mirrored
from training.pictures.mixture import Mixture
from training.train import train
from training.trust.calibrate import calibrate
from training.trust.familiarity import fit_head, with_familiarity
from training.weights import load_weights

if TYPE_CHECKING:
    from pathlib import Path

    from training.config import TrainingConfig
    from training.data import Data


@pytest.mark.parametrize("name", ["mlp", "tiny", "cnn"])
def test_every_weight_of_a_network_can_be_read_back_from_its_artifact(
    data: Data, tmp_path: Path, name: Network
) -> None:
    config = DEFAULTS[name]
    made, read = build(config), build(config)
    rng = np.random.default_rng(0)  # also for batch normalisation, whose weights start as zeros and ones
    made.set_weights([rng.uniform(0.1, 1, weights.shape) for weights in made.get_weights()])
    none = np.empty((0, 28, 28), np.uint8)
    answering = with_familiarity(made, fit_head(made, data.train.images[:20], none, none, config))
    answering = mirrored(answering) if config.mirror else answering
    save_graph(answering, calibrate(answering, config.label_smoothing, data.validation), tmp_path)
    load_weights(read, tmp_path)
    for expected, received in zip(made.get_weights(), read.get_weights(), strict=True):
        assert np.array_equal(expected.astype(np.float32), received)


def test_an_artifact_of_another_network_is_refused(artifact: Path) -> None:
    with pytest.raises(DataError, match="expected the weights of a tiny, received those of another network"):
        load_weights(build(DEFAULTS["tiny"]), artifact)
    wider = keras.Sequential(
        [keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(9, name="dense"), keras.layers.Dense(10)]
    )
    wider.layers[-1].name = "logits"
    with pytest.raises(DataError, match="received others for dense"):
        load_weights(wider, artifact)


@pytest.mark.parametrize("continued", [True, False])
def test_a_run_that_continues_begins_where_its_first_teacher_ended(
    data: Data, quick: TrainingConfig, artifact: Path, tmp_path: Path, *, continued: bool
) -> None:
    teacher = read_teacher(artifact)
    distillation = DistillationConfig((teacher.digest,), blends=1, continued=continued)
    config = quick.override(distillation=distillation, learning_rate=1e-9)
    network, _ = train(
        config, data, tmp_path, mixture=taught(Mixture.of_nothing(), [teacher], distillation, data.train, tmp_path)
    )
    ended = build(quick)
    load_weights(ended, artifact)
    same = np.allclose(network.get_weights()[0], ended.get_weights()[0], atol=1e-6)
    assert same == continued


def test_continuing_another_network_is_refused_before_the_teachers_are_asked(
    data: Data, quick: TrainingConfig, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.job.taught", lambda *_: pytest.fail("asked"))
    teacher = read_teacher(artifact)
    config = quick.override(network="tiny", distillation=DistillationConfig((teacher.digest,), continued=True))
    with pytest.raises(DataError, match="expected the weights of a tiny"):
        train_and_export(config, data, tmp_path / "runs", tmp_path / "models" / "sample" / "1", teachers=[teacher])


def test_the_command_cannot_continue_without_a_teacher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--continue", "--data", str(tmp_path)])
    assert "--continue expects a --teacher" in capsys.readouterr().err
