from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from training.__main__ import main
from training.config import DEFAULTS, DistillationConfig, Network
from training.distillation import read_teacher, require_same_held_out
from training.errors import DataError
from training.job import train_and_export
from training.network import build
from training.page import page
from training.weights import continued, load_weights

if TYPE_CHECKING:
    from pathlib import Path

    from training.config import TrainingConfig
    from training.data import Data


@pytest.mark.parametrize("name", ["mlp", "tiny", "cnn"])
def test_a_network_gets_back_every_weight_that_an_artifact_was_made_of(
    data: Data, tmp_path: Path, name: Network
) -> None:
    config = DEFAULTS[name].override(epochs=1, batch_size=100)
    train_and_export(config, data, tmp_path / "runs", tmp_path / "models" / name / "1")
    (finished,) = (tmp_path / "runs").glob("*/finished.weights.h5")
    trained, read = build(config), build(config)
    trained.load_weights(finished)
    load_weights(read, tmp_path / "models" / name / "1")
    for expected, received in zip(trained.get_weights(), read.get_weights(), strict=True):
        assert np.array_equal(expected, received)


def test_an_artifact_of_another_network_is_refused(artifact: Path) -> None:
    with pytest.raises(DataError, match="of a tiny with 98,714 parameters, received those of another network"):
        load_weights(build(DEFAULTS["tiny"]), artifact)
    wider = keras.Sequential(
        [keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(9, name="dense"), keras.layers.Dense(10)]
    )
    wider.layers[-1].name = "logits"
    with pytest.raises(DataError, match="received others for dense"):
        load_weights(wider, artifact)


@pytest.mark.parametrize("continues", [True, False])
def test_a_run_that_continues_begins_where_its_first_teacher_ended(
    data: Data, quick: TrainingConfig, artifact: Path, tmp_path: Path, *, continues: bool
) -> None:
    teacher = read_teacher(artifact)
    distillation = DistillationConfig((teacher.digest,), blends=1, continued=continues)
    config = quick.override(distillation=distillation, learning_rate=1e-9)
    card = train_and_export(config, data, tmp_path / "runs", tmp_path / "models" / "mlp" / "1", teachers=[teacher])
    ended, begun = build(quick), build(quick)
    load_weights(ended, artifact)
    load_weights(begun, tmp_path / "models" / "mlp" / "1")
    assert np.allclose(begun.get_weights()[0], ended.get_weights()[0], atol=1e-6) == continues
    assert card.training.continued == continues
    assert ("with the weights of the first" in page(card)) == continues


def test_weights_that_answer_otherwise_than_their_artifact_are_refused(
    data: Data, quick: TrainingConfig, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = read_teacher(artifact)
    with pytest.raises(DataError, match="expected an artifact to take the weights from"):
        continued(quick, replace(teacher, folder=None), data.validation.images)
    monkeypatch.setattr(
        "training.weights.load_weights", lambda network, _: network.layers[-1].bias.assign(np.eye(10)[3] * 1e3)
    )
    with pytest.raises(DataError, match="expected weights that answer as their artifact does"):
        continued(quick, teacher, data.validation.images)


def test_a_run_without_photographs_does_not_go_on_from_a_model_that_knows_some(
    quick: TrainingConfig, data: Data, artifact: Path
) -> None:
    teacher = replace(read_teacher(artifact), held_out_share=0.2)
    config = quick.override(distillation=DistillationConfig((teacher.digest,), continued=True))
    with pytest.raises(DataError, match="expected photographs for a run that goes on from its weights"):
        require_same_held_out([teacher], config, data)
    taught_alone = quick.override(distillation=DistillationConfig((teacher.digest,)))
    require_same_held_out([teacher], taught_alone, data)


def test_the_command_passes_on_whose_weights_to_begin_with(
    data: Data, artifact: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[tuple[Any, ...]] = []
    monkeypatch.setattr("training.data.find_folder", lambda _: artifact)
    monkeypatch.setattr("training.data.load", lambda *_: data)
    monkeypatch.setattr("training.job.train_and_export", lambda *given: begun.append(given))
    assert main(["--network", "mlp", "--teacher", str(artifact), "--continue"]) == 0
    ((config, *_, teachers),) = begun
    assert config.distillation.continued
    assert [teacher.folder for teacher in teachers] == [artifact]
    with pytest.raises(SystemExit):
        main(["--continue"])
    assert "--continue expects a --teacher" in capsys.readouterr().err
