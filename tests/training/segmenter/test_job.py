from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from app.imaging import segmentation
from app.imaging.segmentation import Segmenter, separate
from training import config
from training.errors import DataError, TrainingError
from training.pictures import distortion
from training.pictures.photos import decode_photo, list_photos, split_photos
from training.segmenter import grabcut, job, lessons, network, scenes
from training.segmenter.__main__ import main
from training.segmenter.config import SegmenterConfig
from training.segmenter.job import run_folder, train_and_write

if TYPE_CHECKING:
    from training.data import Data

QUICK = SegmenterConfig(steps=30, batch_size=8, averaging=0.9, ambiguity=2)


def test_a_segmenter_is_learnt_from_photographs_and_read_back(data: Data, photo_folder: Path, tmp_path: Path) -> None:
    photos = [photo for photo in list_photos(photo_folder) if photo.folder == "pants"]
    output = tmp_path / "segmenter.onnx"
    run = run_folder(tmp_path, QUICK, data.train.images, photos)
    overlap = train_and_write(QUICK, data.train.images, photos, tmp_path, output)
    assert overlap > 0.5
    share = separate(np.asarray(decode_photo(photos[0])), Segmenter(output))
    assert share is not None
    assert share[48, 35] > 0.5 > share[90, 5]  # the left leg and the ground
    # Existing files are not made again.
    written = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    (run / "round-2.onnx").unlink()
    shutil.copy(run / "round-1.onnx", run / "round-2.onnx")
    train_and_write(QUICK, data.train.images, photos, tmp_path, output)
    assert output.read_bytes() == (run / "round-1.onnx").read_bytes()
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir() if path.suffix == ".npz"}.items() <= (
        written.items()
    )


@pytest.mark.parametrize(
    ("is_measurable", "found"),
    [(False, "expected photographs held out on which"), (True, "expected photographs on which several attempts")],
)
def test_photographs_without_a_garment_are_refused_before_training(
    data: Data, photo_folder: Path, tmp_path: Path, found: str, *, is_measurable: bool
) -> None:
    config = replace(QUICK, held_out_share=0.5)
    (tmp_path / "hat").mkdir()
    for number in range(10):
        Image.new("RGB", (100, 120), (180, 190, 20 * number)).save(tmp_path / "hat" / f"{number}.jpg")
    photos = list_photos(tmp_path)
    for photo in split_photos(photos, config.held_out_share, config.split_seed)[1] if is_measurable else ():
        shutil.copy(photo_folder / "pants" / "0.jpg", photo.path)
    with pytest.raises(TrainingError, match=found):
        train_and_write(config, data.train.images, photos, tmp_path, tmp_path / "segmenter.onnx")
    assert not [*tmp_path.rglob("*.onnx")]


def test_an_unreadable_held_out_photograph_is_refused_before_training(
    data: Data, photo_folder: Path, tmp_path: Path
) -> None:
    photos = list_photos(shutil.copytree(photo_folder, tmp_path / "photos"))
    split_photos(photos, QUICK.held_out_share, QUICK.split_seed)[1][0].path.write_bytes(b"no photograph")
    with pytest.raises(DataError):
        train_and_write(QUICK, data.train.images, photos, tmp_path, tmp_path / "segmenter.onnx")
    assert not [*tmp_path.rglob("*.onnx")]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_split_with_all_photographs_on_one_side_is_refused_before_training(
    data: Data, photo_folder: Path, tmp_path: Path, share: float
) -> None:
    config = replace(QUICK, held_out_share=share)
    with pytest.raises(DataError, match="to learn from and others to hold out"):
        train_and_write(config, data.train.images, list_photos(photo_folder), tmp_path, tmp_path / "segmenter.onnx")


@pytest.mark.usefixtures("restored_logging")
def test_the_command_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--photos", str(tmp_path), "--data", str(tmp_path), "--runs", str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err


def test_the_config_the_images_the_photographs_and_the_code_decide_the_folder_of_a_run(
    data: Data, photo_folder: Path, tmp_path: Path
) -> None:
    images, photos = data.train.images, list_photos(photo_folder)
    folders = {
        run_folder(tmp_path, *parts)
        for parts in (
            (QUICK, images, photos),
            (replace(QUICK), images, photos[::-1]),
            (replace(QUICK, steps=61), images, photos),
            (QUICK, images[1:], photos),
            (QUICK, images, photos[1:]),
        )
    }
    assert len(folders) == 4
    modules = (job, grabcut, lessons, network, scenes, segmentation, distortion, config)
    assert {Path(str(module.__file__)) for module in modules} <= {*job.CODE}
