from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from benchmarks.corruptions import main, rows
from tests.fakes import FirstPixelClassifier
from training.trust.corruptions import CORRUPTIONS, cell, measure, measure_corruption
from training.trust.evaluate import evaluate

if TYPE_CHECKING:
    from pathlib import Path

    from training.data import Data


def test_a_cell_shows_accuracy_calibration_error_and_the_share_called_unfamiliar(data: Data) -> None:
    evaluation = evaluate(FirstPixelClassifier().classify, data.test)
    known, wrong = evaluation.metrics, (evaluation.answers.familiarity < 0.05).mean()
    measured = measure(FirstPixelClassifier().classify, data.test)
    assert cell(measured) == f"{known.accuracy:.1%}, {known.ece_equal_mass:.3f}, {wrong:.0%}"
    earlier = measured.model_copy(update={"flagged": None})
    assert cell(earlier) == f"{known.accuracy:.1%}, {known.ece_equal_mass:.3f}"


def test_each_model_has_a_row_for_each_damage_that_begins_with_undamaged_images(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, made = next(iter(CORRUPTIONS.items()))
    monkeypatch.setattr("benchmarks.corruptions.CORRUPTIONS", {kind: made})
    split, classifier = data.test.take(slice(20)), FirstPixelClassifier()
    first, second = rows({"one": classifier, "other": classifier}, split, seed=0)
    what = f"{kind} {', '.join(f'{strength:g}' for strength in made[1])}"
    assert first[:3] == (what, "one", cell(measure(classifier.classify, split)))
    assert first[3:] == tuple(map(cell, measure_corruption(classifier.classify, split, kind)))
    assert second == (what, "other", *first[2:])


def test_models_of_the_same_name_have_a_row_each_and_models_of_different_splits_are_refused(
    artifact: Path,
    data: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kind, made = next(iter(CORRUPTIONS.items()))
    monkeypatch.setattr("benchmarks.corruptions.CORRUPTIONS", {kind: made})
    monkeypatch.setattr("benchmarks.corruptions.find_folder", lambda: artifact)
    monkeypatch.setattr("benchmarks.corruptions.load", lambda *_: data)
    other = tmp_path / "other" / "1"
    shutil.copytree(artifact, other)
    monkeypatch.setattr("sys.argv", ["corruptions", str(artifact), str(other), "--images", "20"])
    main()
    printed = capsys.readouterr().out
    assert f"| {artifact} (mlp) |" in printed
    assert f"| {other} (mlp) |" in printed
    card = other / "model_card.json"
    card.write_text(card.read_text().replace('"split_seed": 0', '"split_seed": 1'))
    with pytest.raises(SystemExit):
        main()
    assert "expected models of one split_seed, received [0, 1]" in capsys.readouterr().err
