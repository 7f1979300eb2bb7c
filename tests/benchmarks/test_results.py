from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.results import APART, COLUMNS, draw, main, places, rows, spread

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


def test_models_that_differ_in_their_seed_alone_make_one_row(card: dict[str, Any]) -> None:
    taught = deepcopy(card)
    taught["training"]["config"]["distillation"] = {"teachers": ["one", "other"]}
    made = rows([with_seed(card, 0, 0.9), taught, with_seed(card, 1, 0.92)])
    assert [(row.name, len(row.cards)) for row in made] == [("mlp", 2), ("mlp, with 2 teachers", 1)]
    assert made[0].cells()[:5] == ["mlp", "0, 1", "101,770", "0.1 M", "1"]
    assert "91.00% ± 1.41% (n = 2)" in made[0].cells()


def test_networks_of_one_name_are_told_apart_by_their_parameters(card: dict[str, Any]) -> None:
    wider = deepcopy(card)
    wider["network"]["parameters"] = 527_402
    assert [row.name for row in rows([card, wider])] == ["mlp, 0.10 M", "mlp, 0.53 M"]
    longer = deepcopy(card)
    longer["training"]["config"]["epochs"] = 99
    names = [row.name for row in rows([card, wider, longer])]
    assert names == ["mlp, 0.10 M (1)", "mlp, 0.53 M", "mlp, 0.10 M (2)"]


def test_one_value_has_no_spread_and_none_is_left_empty() -> None:
    assert spread([0.5], ".1%") == "50.0%"
    assert spread([], ".1%") == ""


def test_a_card_of_an_earlier_version_is_enough(card: dict[str, Any]) -> None:
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


def test_in_the_picture_no_row_looks_like_another(card: dict[str, Any]) -> None:
    cards = []
    for epochs in range(1, 25):
        cards.append(deepcopy(card))
        cards[-1]["training"]["config"]["epochs"] = epochs
    lines = [container[0] for container in draw(rows(cards)).axes[0].containers]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == len(cards)


def test_in_the_picture_rows_of_one_cost_stand_side_by_side(card: dict[str, Any]) -> None:
    cards = [deepcopy(card) for _ in range(3)]
    for epochs, one in enumerate(cards):
        one["training"]["config"]["epochs"] = epochs
    figure = draw(rows(cards))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    shown = [container[0].get_transform().transform(container[0].get_xydata()[0]) for container in axes.containers]
    apart = np.diff([x for x, _ in shown]) * 72 / figure.dpi
    assert apart == pytest.approx([APART, APART])
    inside = [axes.bbox.contains(*point) for point in shown]
    assert all(inside)


def test_rows_are_moved_for_near_ones_alone_and_keep_their_order() -> None:
    assert places([100, 1000, 1100, 2000, 1000]) == [0, -APART, 0, 0, APART]


def test_what_is_no_artifact_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["results", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "expected artifacts with a card" in capsys.readouterr().err
