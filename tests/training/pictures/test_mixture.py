from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from training.config import DEFAULTS, Distortion, PhotoConfig
from training.pictures.mixture import Mixture, prepare
from training.pictures.photos import Photo, convert_photo, list_photos

if TYPE_CHECKING:
    from pathlib import Path

    from training.data import Data

CONFIG = PhotoConfig(variants=2, collages=12)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def mixture(runs: Path, data: Data, photo_folder: Path) -> Mixture:
    return prepare(CONFIG, 0, data.train.images[:30], list_photos(photo_folder), runs)


def test_photographs_without_a_class_are_kept_apart(mixture: Mixture) -> None:
    assert mixture.photos.shape == (20, 3, 28, 28)
    assert mixture.unfamiliar.shape == (10, 3, 28, 28)
    assert mixture.targets.shape == (20, 10)
    assert (mixture.targets.sum(axis=1) == 1).all()


def test_collages_of_photographs_are_among_the_unfamiliar_examples(
    mixture: Mixture, data: Data, photo_folder: Path, tmp_path: Path
) -> None:
    assert mixture.collages.shape == (12, 28, 28)
    assert len({image.tobytes() for image in mixture.collages}) > 6  # one that shows only ground is black
    known, unfamiliar = mixture.examples
    assert len(known) == 20 * 3
    assert np.array_equal(unfamiliar[10 * 3 :], mixture.collages)
    fewer = prepare(replace(CONFIG, collages=3), 0, data.train.images[:1], list_photos(photo_folder), tmp_path)
    assert np.array_equal(fewer.collages, mixture.collages[:3])


def test_the_first_variant_is_what_the_service_sees_and_the_others_differ(mixture: Mixture, photo_folder: Path) -> None:
    photos = [photo for photo in list_photos(photo_folder) if photo.folder != "hat"]
    for photo, variants in zip(photos[::7], mixture.photos[::7], strict=True):
        assert np.array_equal(variants[0], convert_photo(photo).image)
        assert all((variants[0] != other).any() for other in variants[1:])


def prepared(photos: list[Photo], images: np.ndarray, runs: Path, **shares: float) -> np.ndarray:
    """Return converted photographs, undistorted except for the given shares of misjudged outlines and pairs."""
    calm = Distortion(**dict.fromkeys(asdict(Distortion()), 0.0))
    config = PhotoConfig(
        variants=4, collages=1, distortion=calm, **{"misjudged_share": 0.0, "paired_share": 0.0} | shares
    )
    return prepare(config, 0, images, photos, runs).photos


@pytest.mark.parametrize("folder", ["shoes", "t-shirt"])
def test_shoes_are_shown_in_pairs_and_nothing_else_is(
    folder: str, data: Data, photo_folder: Path, tmp_path: Path
) -> None:
    shirts = [Photo(photo.path, folder) for photo in list_photos(photo_folder) if photo.folder == "t-shirt"]
    alone, paired = (prepared(shirts, data.train.images[:1], tmp_path, paired_share=share) for share in (0.0, 1.0))
    assert np.array_equal(alone[:, 0], paired[:, 0]), "the first is what the service sees"
    heights = [(images[:, 1:] > 0).any(axis=3).sum(axis=2).mean() for images in (alone, paired)]
    assert (heights[1] < 0.7 * heights[0]) == (folder == "shoes"), "two are wider, so each is smaller"


def test_outlines_are_wrong_as_often_as_requested(data: Data, photo_folder: Path, tmp_path: Path) -> None:
    photos = list_photos(photo_folder)
    right, some, all_wrong = (
        prepared(photos, data.train.images[:1], tmp_path, misjudged_share=share).astype(int)
        for share in (0.0, 0.5, 1.0)
    )
    assert np.array_equal(right[:, 0], all_wrong[:, 0]), "the first is what the service sees"
    some_share, all_share = (
        (np.abs(images - right)[:, 1:].max(axis=(2, 3)) > 50).mean() for images in (some, all_wrong)
    )
    assert all_share > 0.6, "some of these photographs have so plain a ground that no outline is asked for"
    assert 0.3 * all_share < some_share < 0.7 * all_share


def test_each_image_is_disguised_and_converted_back(mixture: Mixture, data: Data) -> None:
    errors = np.abs(mixture.disguised.astype(int) - data.train.images[:30]).mean(axis=(1, 2))
    assert np.median(errors) < 12
    assert errors.min() > 0


def test_converted_images_are_kept_for_runs_that_convert_in_the_same_way(
    mixture: Mixture, runs: Path, data: Data, photo_folder: Path
) -> None:
    images, photos = data.train.images[:30], list_photos(photo_folder)
    kept = {path: path.stat().st_mtime_ns for path in runs.iterdir()}
    again = prepare(replace(CONFIG, share=0.5), 0, images, photos, runs)
    assert {path: path.stat().st_mtime_ns for path in runs.iterdir()} == kept
    assert np.array_equal(again.photos, mixture.photos)


def test_any_change_of_the_config_the_seed_or_the_pictures_converts_again(
    data: Data, photo_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(photo_folder / "pants", tmp_path / "pants")
    config, images, photos = PhotoConfig(variants=1, collages=1), data.train.images[:2], list_photos(tmp_path)[:2]
    for given in (
        (config, 0, images, photos),
        (config, 0, images, photos[::-1]),  # the same
        (replace(config, variants=2), 0, images, photos),
        (replace(config, distortion=Distortion(zoom=0.2)), 0, images, photos),
        (config, 1, images, photos),
        (config, 0, images[:1], photos),
        (config, 0, images, photos[:1]),
    ):
        prepare(*given, tmp_path)
    photos[1].path.write_bytes(photos[0].path.read_bytes())
    prepare(config, 0, images, photos, tmp_path)
    assert len([*tmp_path.glob("mixture-*.npz")]) == 7


def test_each_photograph_of_a_small_folder_has_a_higher_chance_and_the_folder_a_lower_one(
    data: Data, photo_folder: Path, tmp_path: Path
) -> None:
    photos = [photo for photo in list_photos(photo_folder) if photo.folder in {"pants", "t-shirt"}]
    trousers = sum(photo.folder == "pants" for photo in photos)
    few = [*photos[:2], *photos[trousers:]]
    assert [photo.folder for photo in few].count("pants") == 2
    chances = prepare(PhotoConfig(variants=0, collages=1), 0, data.train.images[:1], few, tmp_path).chances
    assert chances.sum() == pytest.approx(1)
    assert chances[0] == chances[1] > chances[2] == chances[-1]
    assert chances[:2].sum() / chances[2:].sum() == pytest.approx((2 / 10) ** 0.25)


def test_photographs_are_drawn_as_often_as_their_chances_say() -> None:
    photos = np.zeros((3, 1, 28, 28), np.uint8)
    photos[:, 0, 0, 0] = range(3)
    rows = np.eye(3, 10, dtype=np.float32)
    drawing = Mixture(photos[:, 0], photos, rows, rows, np.array([0.5, 0.25, 0.25]), photos[:0], photos[:0, 0])
    config = DEFAULTS["mlp"].override(batch_size=2000, photos=PhotoConfig(share=1))
    images, targets = next(drawing.draw(config, np.random.default_rng(0)))
    assert (targets.argmax(axis=1) == images[:, 0, 0]).all()
    assert np.bincount(images[:, 0, 0]) / 2000 == pytest.approx([0.5, 0.25, 0.25], abs=0.05)
