from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.results import COLUMNS, draw, main, rows, spread

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def card(artifact: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((artifact / "model_card.json").read_text())
    return loaded


def with_seed(card: dict[str, Any], seed: int, accuracy: float) -> dict[str, Any]:
    other = deepcopy(card)
    other["training"]["config"]["seed"] = seed
    other["metrics"]["test"]["accuracy"] = accuracy
    return other


def test_models_that_differ_only_in_their_seed_share_a_row(card: dict[str, Any]) -> None:
    taught = deepcopy(card)
    taught["training"]["config"]["distillation"] = {"teachers": ["one", "other"]}
    further = deepcopy(card)
    further["training"]["config"]["distillation"] = {"teachers": ["one"], "continued": True}
    made = rows([with_seed(card, 0, 0.9), taught, with_seed(card, 1, 0.92), further])
    names = [(row.name, len(row.cards)) for row in made]
    assert names == [("mlp", 2), ("mlp, with 2 teachers", 1), ("mlp, with a teacher, continued", 1)]
    assert made[0].cells()[:5] == ["mlp", "0, 1", "101,770", "0.1 M", "1"]
    assert "91.00% ± 1.41% (n = 2)" in made[0].cells()


def test_models_of_other_photographs_or_data_have_rows_of_their_own(card: dict[str, Any]) -> None:
    photos, files = with_seed(card, 1, 0.9), with_seed(card, 2, 0.9)
    photos["photos"] = {"digest": "other", "accuracy": 0.9}
    files["training"]["data_digests"] = {}
    assert [len(row.cards) for row in rows([card, photos, files])] == [1, 1, 1]


def test_the_accuracy_on_photographs_is_that_of_the_network_alone(card: dict[str, Any]) -> None:
    of_colours = {"recogniser": "0" * 64, "accuracy": 0.95}
    for photos, told in (
        ({"accuracy": 0.9}, [0.9]),
        (of_colours, []),
        (of_colours | {"accuracy_alone": 0.92}, [0.92]),
        (None, []),
    ):
        assert rows([card | {"photos": photos}])[0].photos == told


def test_two_models_of_the_same_config_and_seed_are_refused(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["results", str(artifact), str(artifact)])
    with pytest.raises(SystemExit):
        main()
    assert "found models of one config and seeds 0, 0" in capsys.readouterr().err


def test_networks_of_the_same_name_are_told_apart_by_their_parameters(card: dict[str, Any]) -> None:
    wider = deepcopy(card)
    wider["network"]["parameters"] = 527_402
    assert [row.name for row in rows([card, wider])] == ["mlp, 0.10 M", "mlp, 0.53 M"]
    longer = deepcopy(card)
    longer["training"]["config"]["epochs"] = 99
    names = [row.name for row in rows([card, wider, longer])]
    assert names == ["mlp, 0.10 M (1)", "mlp, 0.53 M", "mlp, 0.10 M (2)"]


def test_a_single_value_has_no_spread_and_without_values_the_cell_is_empty() -> None:
    assert spread([0.5], ".1%") == "50.0%"
    assert spread([], ".1%") == ""


def test_a_card_of_an_earlier_version_is_accepted(card: dict[str, Any]) -> None:
    del card["photos"], card["familiarity"], card["metrics"]["test"]["brier_score"]
    assert len(rows([card])[0].cells()) == len(COLUMNS)


def test_the_command_prints_the_table_and_draws_it(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["results", str(artifact), "--picture", str(tmp_path / "results.png")])
    main()
    assert "| mlp | 0 |" in capsys.readouterr().out
    with Image.open(tmp_path / "results.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10


def test_the_picture_marks_the_error_of_each_seed_with_the_cheapest_network_at_the_bottom(
    card: dict[str, Any],
) -> None:
    dear = with_seed(card, 0, 0.95)
    dear["network"]["multiply_accumulates"] = 29_771_680
    (axes,) = draw(rows([dear, with_seed(card, 0, 0.9), with_seed(card, 1, 0.92)])).axes
    marks = [np.asarray(line.get_xydata()) for line in axes.lines if line.get_marker() == "o"]
    assert [np.round(points, 6).tolist() for points in marks] == [[[10, 0], [8, 0]], [[5, 1]]]
    assert [text.get_text() for text in axes.texts] == [
        "mlp, 0.10 M (2): 0.1 M multiply-accumulates, 0.10 M parameters",
        "mlp, 0.10 M (1): 29.8 M multiply-accumulates, 0.10 M parameters",
    ]
    least, most = axes.get_xlim()
    assert least > most  # the axis is reversed: better networks are on the right


def test_a_folder_that_is_not_an_artifact_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["results", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "expected artifacts with a card" in capsys.readouterr().err
