from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from app.classifier import SavedModelClassifier
from app.settings import Settings
from benchmarks.disguise import main, measure
from training.disguise import GARMENTS, GROUNDS

if TYPE_CHECKING:
    from pathlib import Path

    from training.data import Data


@pytest.mark.parametrize(("ground", "garment"), list(itertools.product(GROUNDS, GARMENTS)))
def test_a_test_image_disguised_as_a_catalogue_picture_is_answered_as_itself(
    data: Data, ground: str, garment: str
) -> None:
    classifier = SavedModelClassifier(Settings().model_dir)
    same, right, native = measure(classifier, data.test.take(slice(0, None, 2)), ground, garment, seed=0)
    assert same >= 0.9
    assert right >= native - 0.06


def test_a_folder_without_a_model_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["disguise", "--model", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"python -m benchmarks.disguise: error: {tmp_path}")
