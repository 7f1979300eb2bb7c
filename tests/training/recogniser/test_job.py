from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageOps

from app.imaging.recognition import RECOGNISER, Recogniser
from app.model_card import read_verified
from app.settings import Settings
from training.errors import DataError
from training.pictures.photos import Photo, decode_photo, digest_of, list_photos, split_photos
from training.recogniser.__main__ import main
from training.recogniser.config import RecogniserConfig
from training.recogniser.job import fit, train_and_write
from training.recogniser.lessons import lessons_of

if TYPE_CHECKING:
    from pathlib import Path

QUICK = RecogniserConfig(ways=2)


def test_a_recogniser_is_learnt_from_photographs_and_read_back(photo_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "recogniser.onnx"
    assert train_and_write(QUICK, list_photos(photo_folder), output) == 1
    evidence = Recogniser(output).look_at(np.asarray(decode_photo(Photo(photo_folder / "pants" / "0.jpg", "pants"))))
    assert evidence.argmax() == 1
    assert [float(evidence[i]) for i in range(2, 10)] == [0] * 8  # no evidence for kinds never seen


def test_photographs_of_one_kind_are_refused_before_training(photo_folder: Path, tmp_path: Path) -> None:
    photos = [photo for photo in list_photos(photo_folder) if photo.folder != "t-shirt"]
    with pytest.raises(DataError, match="expected photographs of several kinds to tell apart, received pants alone"):
        train_and_write(QUICK, photos, tmp_path / "recogniser.onnx")


def test_an_unreadable_held_out_photograph_leaves_the_existing_network_in_place(
    photo_folder: Path, tmp_path: Path
) -> None:
    photos = list_photos(shutil.copytree(photo_folder, tmp_path / "photos"))
    split_photos(photos, QUICK.held_out_share, QUICK.split_seed)[1][0].path.write_bytes(b"no photograph")
    (output := tmp_path / "recogniser.onnx").write_bytes(b"of before")
    with pytest.raises(DataError):
        train_and_write(QUICK, photos, output)
    assert output.read_bytes() == b"of before"


def test_the_last_layer_learns_to_tell_the_labels_apart_and_splits_what_may_be_two() -> None:
    rng = np.random.default_rng(0)
    targets = np.zeros((300, 10), np.float32)
    targets[:100, 3], targets[100:200, 1] = 1, 1
    targets[200:, [5, 7]] = 0.5
    features = rng.normal(0, 1, (300, 4, 5)).astype(np.float32) * [1, 10, 0.1, 1, 1]
    features[:100, :, 1] += 40
    features[100:200, :, 2] += 0.4
    head = fit(features.astype(np.float32), targets, 1e-4)
    logits = features[:, 0] @ head.kernel + head.bias
    likely = np.exp(logits - logits.max(axis=1, keepdims=True))
    likely /= likely.sum(axis=1, keepdims=True)
    assert likely[:100, 3].mean() > 0.95
    assert likely[100:200, 1].mean() > 0.95
    assert likely[200:, 5].mean() == pytest.approx(likely[200:, 7].mean(), rel=0.02)
    assert likely[200:, 5].mean() > 0.45
    assert likely[:, [0, 2, 4, 6, 8, 9]].max() < 1e-6
    np.testing.assert_allclose(head.prior, targets.mean(axis=0))


def test_a_garment_is_shown_on_its_own_ground_and_on_others(photo_folder: Path, tmp_path: Path) -> None:
    shown, other = Photo(photo_folder / "pants" / "0.jpg", "pants"), Photo(tmp_path / "dark.png", "pants")
    ImageOps.invert(Image.open(shown.path)).save(other.path)
    lessons = lessons_of(shown, [other], 8, seed=0)
    assert lessons.shape == (9, 192, 192, 3)
    assert (lessons == lessons_of(shown, [other], 8, seed=0)).all()
    assert not (lessons == lessons_of(shown, [other], 8, seed=1)).all()
    corners = lessons[1:, ::191, ::191].mean(axis=(1, 2, 3))
    assert (corners > 128).tolist() == [True, False] * 4


@pytest.mark.usefixtures("restored_logging")
def test_measuring_a_model_again_changes_only_what_its_card_says_about_photographs(
    photo_folder: Path, tmp_path: Path
) -> None:
    folder, photos = tmp_path / "model" / "1", list_photos(photo_folder)
    shutil.copytree(Settings().model_dir, folder)
    (tmp_path / "model" / "report-1").mkdir()
    (tmp_path / "model" / "report-1" / "README.md").touch()
    before = read_verified(folder)
    assert before.photos
    command = ["--photos", str(photo_folder), "--measure", str(folder)]
    assert main(command) == 1  # the model learnt from other photographs
    known = before.photos.model_copy(update={"digest": digest_of(photos), "recogniser": "0" * 64, "folders": {}})
    foreign = before.model_copy(update={"photos": known.model_copy(update={"segmenter": "0" * 64})})
    foreign.write(folder)
    assert main(command) == 1  # it was measured with another segmenter
    assert read_verified(folder) == foreign
    before.model_copy(update={"photos": known}).write(folder)
    assert main(command) == 0
    after = read_verified(folder)
    assert after.photos
    assert after.photos.recogniser == RECOGNISER.digest
    assert after.photos.folders.keys() == {"pants", "t-shirt"}
    of_photos = {"photos_threshold": None, "photos_coverage": None, "photos_mean_size": None}
    sets = [one.model_copy(update=of_photos) for one in after.prediction_sets]
    assert sets == [one.model_copy(update=of_photos) for one in before.prediction_sets]
    assert all(one.photos_mean_size is not None for one in after.prediction_sets)
    rest = {"photos": None, "prediction_sets": ()}
    assert after.model_copy(update=rest) == before.model_copy(update=rest)
    assert f"Of {after.photos.held_out} others" in (tmp_path / "model" / "report-1" / "README.md").read_text()


@pytest.mark.usefixtures("restored_logging")
def test_the_command_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--photos", str(tmp_path)]) == 1
    assert f"{tmp_path}: expected photographs" in capsys.readouterr().err

    def interrupt(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.recogniser.job.train_and_write", interrupt)
    monkeypatch.setattr("training.recogniser.__main__.list_photos", lambda _: [])
    assert main(["--photos", str(tmp_path)]) == 130
