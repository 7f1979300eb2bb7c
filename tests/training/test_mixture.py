from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from training.config import PhotoConfig
from training.mixture import Mixture, prepare
from training.photos import convert_photo, list_photos

if TYPE_CHECKING:
    from pathlib import Path

    from training.data import Data

CONFIG = PhotoConfig(variants=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def mixture(run: Path, data: Data, photo_folder: Path) -> Mixture:
    return prepare(CONFIG, 0, data.train.images[:30], list_photos(photo_folder), run)


def test_photographs_of_what_has_no_class_are_left_out(mixture: Mixture) -> None:
    assert mixture.photos.shape == (20, 3, 28, 28)
    assert mixture.targets.shape == (20, 10)
    assert (mixture.targets.sum(axis=1) == 1).all()


def test_the_first_variant_is_what_the_service_sees_and_the_others_differ(mixture: Mixture, photo_folder: Path) -> None:
    photos = [photo for photo in list_photos(photo_folder) if photo.folder != "hat"]
    for photo, variants in zip(photos[::7], mixture.photos[::7], strict=True):
        assert np.array_equal(variants[0], convert_photo(photo))
        assert all((variants[0] != other).any() for other in variants[1:])


def test_each_image_is_disguised_and_converted_back(mixture: Mixture, data: Data) -> None:
    errors = np.abs(mixture.disguised.astype(int) - data.train.images[:30]).mean(axis=(1, 2))
    assert np.median(errors) < 12
    assert errors.min() > 0


def test_what_was_converted_is_kept_for_the_next_start_of_the_run(
    mixture: Mixture, run: Path, data: Data, photo_folder: Path
) -> None:
    written = (run / "mixture.npz").stat().st_mtime_ns
    again = prepare(CONFIG, 0, data.train.images[:30], list_photos(photo_folder), run)
    assert (run / "mixture.npz").stat().st_mtime_ns == written
    assert np.array_equal(again.photos, mixture.photos)


def test_small_folders_are_drawn_more_often_for_each_photograph() -> None:
    photos = np.zeros((3, 1, 28, 28), np.uint8)
    photos[:, 0, 0, 0] = range(3)
    drawing = Mixture(photos[:, 0], photos, np.eye(3, 10, dtype=np.float32), np.array([0.5, 0.25, 0.25]))
    images, targets = drawing.draw_photos(2000, np.random.default_rng(0))
    assert (targets.argmax(axis=1) == images[:, 0, 0]).all()
    assert np.bincount(images[:, 0, 0]) / 2000 == pytest.approx([0.5, 0.25, 0.25], abs=0.05)
