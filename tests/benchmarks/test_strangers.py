from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from benchmarks.strangers import CROPS, Stranger, answer, crop, main, page
from tests.fakes import FirstPixelClassifier

if TYPE_CHECKING:
    from pathlib import Path


def test_a_picture_is_answered_whole_and_in_crops(tmp_path: Path) -> None:
    Image.new("RGB", (80, 60), "white").save(tmp_path / "wall.png")
    classifier = FirstPixelClassifier()
    stranger = answer(tmp_path / "wall.png", classifier, seed=0)
    assert stranger.name == "wall.png"
    assert len(stranger.familiarity) == len(classifier.seen[0]) == 1 + CROPS


def test_a_drawing_is_separated_from_its_transparent_ground_as_in_the_service(tmp_path: Path) -> None:
    drawing = Image.new("RGBA", (80, 60))
    drawing.paste("white", (20, 10, 60, 50))  # laid on white, nothing of it would be left
    drawing.save(tmp_path / "drawing.png")
    classifier = FirstPixelClassifier()
    answer(tmp_path / "drawing.png", classifier, seed=0)
    (seen,) = classifier.seen
    assert seen[0].any()


def test_crops_depend_on_the_seed_and_the_name_but_not_on_other_pictures(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    for name in ("cat.png", "dog.png"):
        noise.save(tmp_path / name)
    classifier = FirstPixelClassifier()
    for name, seed in (("cat.png", 0), ("dog.png", 0), ("cat.png", 0), ("cat.png", 1)):
        answer(tmp_path / name, classifier, seed)
    cat, dog, again, otherwise = classifier.seen
    assert np.array_equal(cat, again)
    assert not np.array_equal(cat, dog)
    assert not np.array_equal(cat, otherwise)


def test_a_crop_is_a_part_of_the_picture() -> None:
    columns = np.broadcast_to(np.arange(200, dtype=np.uint8), (100, 200))
    for seed in range(50):
        part = np.asarray(crop(Image.fromarray(columns), np.random.default_rng(seed)))
        assert 35 <= part.shape[0] <= 80
        assert 70 <= part.shape[1] <= 160
        assert (np.diff(part[0].astype(int)) == 1).all()
    assert crop(Image.new("L", (1, 1)), np.random.default_rng(0)).size == (1, 1)


def test_the_page_counts_unfamiliar_pictures_and_names_the_others() -> None:
    strangers = [
        Stranger("cat.png", (0.01, *[0.2] * CROPS), "Bag", 0.5),
        Stranger("temple.jpg", (0.05, *[0.01] * CROPS), "T-shirt/top", 0.7),
    ]
    lines = page(strangers, 0.05).splitlines()
    assert lines[2].startswith("| whole | 2 | 1 | 50.0% | ")
    assert lines[3] == f"| {CROPS} crops of each | {2 * CROPS} | {CROPS} | 50.0% |  |"
    assert lines[-1] == "temple.jpg: T-shirt/top 70%, familiarity 0.050"
    assert "Not called" not in page(strangers[:1], 0.05)


def test_the_command_says_what_it_measured_with_which_model_and_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], artifact: Path
) -> None:
    Image.new("RGB", (80, 60), "white").save(tmp_path / "wall.png")
    monkeypatch.setattr("sys.argv", ["strangers", str(tmp_path / "wall.png"), "--model", str(artifact), "--seed", "3"])
    main()
    assert capsys.readouterr().out.splitlines()[0] == "sample 1 on 1 pictures, seed 3"


def test_a_file_that_is_not_a_picture_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], artifact: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    monkeypatch.setattr("sys.argv", ["strangers", str(tmp_path / "notes.txt"), "--model", str(artifact)])
    with pytest.raises(SystemExit):
        main()
    assert "Expected an image" in capsys.readouterr().err
