from __future__ import annotations

import logging
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.imaging.conversion import Mode, convert
from training.data import LABELS
from training.errors import DataError
from training.pictures.photos import (
    CLASSES_OF,
    Photo,
    allowed_of,
    convert_photo,
    digest_of,
    labels_by_eye,
    list_photos,
    require_classed,
    require_readable,
    split_photos,
    targets_of,
)

MANY = [Photo(Path(folder, f"{number}.jpg"), folder) for folder in ("dress", "hat") for number in range(2000)]


def test_right_answers_are_labels_of_the_data_set() -> None:
    assert {label for labels in CLASSES_OF.values() for label in labels} == {*LABELS}


def test_photographs_are_listed_by_folder_and_name_and_anything_else_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (
        "t-shirt/b.JPG",
        "t-shirt/a.jpg",
        "dress/c.png",
        "dress/._c.png",
        "scarf/d.jpg",
        "dress/e.gif",
        "f.jpg",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with caplog.at_level(logging.INFO):
        photos = list_photos(tmp_path)
    assert photos == [
        Photo(tmp_path / folder / name, folder)
        for folder, name in (("dress", "c.png"), ("t-shirt", "a.jpg"), ("t-shirt", "b.JPG"))
    ]
    assert caplog.messages == ["photographs: 1 dress, 2 t-shirt", "left alone, since no folder is called so: scarf"]


def test_a_photograph_that_cannot_be_decoded_is_named(photo_folder: Path, tmp_path: Path) -> None:
    photos = list_photos(photo_folder)
    require_readable(photos)
    (tmp_path / "torn.jpg").write_bytes(photos[0].path.read_bytes()[:300])
    for path in (tmp_path / "torn.jpg", tmp_path / "gone.jpg"):
        with pytest.raises(DataError, match=rf"^{path}: "):
            require_readable([*photos, Photo(path, "dress")])


def test_a_folder_without_photographs_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"photographs \(\.jpeg, .+\) in folders named bag, dress, .+; found none"):
        list_photos(tmp_path)


def test_the_split_loses_nothing_and_holds_out_the_share_of_each_folder() -> None:
    learnt, held_out = split_photos(MANY, 0.2, seed=0)
    assert sorted(learnt + held_out) == sorted(MANY)
    assert all(count == pytest.approx(400, abs=60) for count in Counter(photo.folder for photo in held_out).values())


def test_a_photograph_stays_on_its_side_whatever_is_added_and_wherever_it_lies() -> None:
    few = [Photo(Path("/elsewhere") / photo.path, photo.folder) for photo in MANY[::7]]
    for of_few, of_many in zip(split_photos(few, 0.2, seed=0), split_photos(MANY, 0.2, seed=0), strict=True):
        assert {photo.path.name for photo in of_few if photo.folder == "hat"} <= {
            photo.path.name for photo in of_many if photo.folder == "hat"
        }


def test_the_split_depends_on_the_seed_and_the_folder_too() -> None:
    chosen = [
        {photo.path.name for photo in split_photos(MANY, 0.5, seed)[1] if photo.folder == folder}
        for seed, folder in ((0, "dress"), (1, "dress"), (0, "hat"))
    ]
    assert chosen[0] != chosen[1]
    assert chosen[0] != chosen[2]


@pytest.mark.parametrize(("share", "expected"), [(0.0, (4000, 0)), (1.0, (0, 4000))])
def test_a_share_of_0_or_1_holds_out_nothing_or_everything(share: float, expected: tuple[int, int]) -> None:
    assert tuple(map(len, split_photos(MANY, share, seed=0))) == expected


def test_the_split_is_the_same_on_every_machine() -> None:
    held_out = split_photos(MANY[:20], 0.2, seed=0)[1]
    assert [photo.path.name for photo in held_out] == ["4.jpg", "5.jpg", "7.jpg", "14.jpg"]


@pytest.mark.parametrize(("learnt", "held_out"), [("hat", "dress"), ("dress", "hat"), ("hat", "hat")])
def test_a_side_of_the_split_without_any_class_is_refused(learnt: str, held_out: str) -> None:
    with pytest.raises(DataError, match=r"received \d+ and \d+ of 4"):
        require_classed([Photo(Path("a.jpg"), learnt)] * 2, [Photo(Path("b.jpg"), held_out)] * 2)
    require_classed([Photo(Path("a.jpg"), "dress")], [Photo(Path("b.jpg"), "dress")])


def test_the_digest_depends_on_the_photographs_but_not_on_their_order_or_place(
    photo_folder: Path, tmp_path: Path
) -> None:
    photos = list_photos(photo_folder)
    copied = list_photos(shutil.copytree(photo_folder, tmp_path / "copied"))
    assert digest_of(photos) == digest_of(photos[::-1]) == digest_of(copied)
    copied[0].path.write_bytes(copied[0].path.read_bytes() + b"changed")
    assert digest_of(photos) != digest_of(copied)


def test_the_right_labels_of_a_photograph_share_its_target_equally() -> None:
    (target,) = targets_of([Photo(Path("a.jpg"), "shoes")])
    assert dict(zip(LABELS, target, strict=True)) == {
        label: pytest.approx(1 / 3 if label in {"Sandal", "Sneaker", "Ankle boot"} else 0) for label in LABELS
    }


def test_a_label_given_by_eye_is_the_only_one_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    boot, unknown = Photo(Path("a.jpg"), "shoes"), Photo(Path("b.jpg"), "shoes")
    monkeypatch.setitem(labels_by_eye(), ("shoes", "a.jpg"), "Ankle boot")
    assert (boot.labels, unknown.labels) == (("Ankle boot",), CLASSES_OF["shoes"])
    assert (boot.is_told_apart, unknown.is_told_apart) == (True, False)
    learnt, allowed = targets_of([boot, unknown]), allowed_of([boot, unknown])
    assert learnt[0, LABELS.index("Ankle boot")] == 1
    assert np.array_equal(learnt[1], allowed[0])
    assert np.array_equal(allowed[0], allowed[1])


def test_a_label_given_by_eye_is_one_of_several_labels_of_the_folder() -> None:
    assert len(labels_by_eye()) > 100
    for (folder, _), label in labels_by_eye().items():
        assert label in CLASSES_OF[folder]
        assert len(CLASSES_OF[folder]) > 1


def test_a_photograph_is_converted_as_the_service_would_convert_it(photo_folder: Path) -> None:
    image = convert_photo(Photo(photo_folder / "pants" / "0.jpg", "pants")).image
    assert image.shape == (28, 28)
    assert np.array_equal(image, convert(Image.open(photo_folder / "pants" / "0.jpg"), Mode.AUTO).image)
    assert (image[:, 0] == 0).all()  # trousers are narrow
