from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.corruptions import CORRUPTIONS, cell, damage, main, motion, rows
from tests.fakes import FirstPixelClassifier
from training.evaluate import evaluate

if TYPE_CHECKING:
    from pathlib import Path

    from training.data import Data


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_each_damage_grows_with_its_strength_and_is_the_same_for_a_seed(kind: str, data: Data) -> None:
    corrupt, strengths = CORRUPTIONS[kind]
    damaged = [damage(data.test, corrupt, strength, seed=0) for strength in strengths]
    lost = [np.abs(one.images.astype(int) - data.test.images).mean() for one in damaged]
    assert len(lost) == 5
    assert lost == sorted(lost)
    assert lost[0] > 0
    assert all(np.array_equal(one.class_ids, data.test.class_ids) for one in damaged)
    assert np.array_equal(damaged[0].images, damage(data.test, corrupt, strengths[0], seed=0).images)


@pytest.mark.parametrize("length", [3, 4, 5, 7, 9])
def test_motion_smears_a_point_over_its_length_and_leaves_it_where_it_is(length: float) -> None:
    image = np.zeros((29, 29), np.uint8)
    image[14, 14] = 255
    for seed in range(20):
        smeared = motion(image, length, np.random.default_rng(seed)).astype(float)
        places, shares = np.indices(image.shape) - 14, smeared / smeared.sum()
        assert (shares * places).sum(axis=(1, 2)) == pytest.approx([0, 0], abs=1e-9)
        # The spread of a line is a twelfth of its length's square; turning it blurs, whole pixels round.
        assert (shares * (places**2).sum(axis=0)).sum() == pytest.approx(length**2 / 12, abs=0.6)


def test_a_cell_says_how_often_it_is_right_and_how_wrong_its_confidence(data: Data) -> None:
    evaluation = evaluate(FirstPixelClassifier().classify, data.test)
    assert cell(evaluation) == f"{evaluation.metrics.accuracy:.1%}, {evaluation.metrics.ece_equal_mass:.3f}"


def test_a_row_is_of_one_model_and_one_damage_and_begins_with_undamaged_images(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, made = next(iter(CORRUPTIONS.items()))
    monkeypatch.setattr("benchmarks.corruptions.CORRUPTIONS", {kind: made})
    split, classifier = data.test.take(slice(20)), FirstPixelClassifier()
    first, second = rows({"one": classifier, "other": classifier}, split, seed=0)
    what = f"{kind} {', '.join(f'{strength:g}' for strength in made[1])}"
    assert first[:3] == (what, "one", cell(evaluate(classifier.classify, split)))
    assert second == (what, "other", *first[2:])
    assert len(first) == 3 + len(made[1])


def test_models_of_one_name_have_a_row_each_and_models_of_other_splits_are_refused(
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
