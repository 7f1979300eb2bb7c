from __future__ import annotations

import logging
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.classifier import Answers
from app.imaging.conversion import Mode, convert
from app.model_card import FolderMetrics, PhotoMetrics
from training.data import LABELS
from training.errors import DataError
from training.photos import (
    CLASSES_OF,
    LABEL_OF,
    AnsweredPhotos,
    Photo,
    allowed_of,
    answer_photos,
    convert_photo,
    digest_of,
    list_photos,
    measure_photos,
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


def test_the_seed_and_the_folder_decide_too() -> None:
    chosen = [
        {photo.path.name for photo in split_photos(MANY, 0.5, seed)[1] if photo.folder == folder}
        for seed, folder in ((0, "dress"), (1, "dress"), (0, "hat"))
    ]
    assert chosen[0] != chosen[1]
    assert chosen[0] != chosen[2]


@pytest.mark.parametrize(("share", "expected"), [(0.0, (4000, 0)), (1.0, (0, 4000))])
def test_the_ends_of_the_share_hold_out_nothing_or_everything(share: float, expected: tuple[int, int]) -> None:
    assert tuple(map(len, split_photos(MANY, share, seed=0))) == expected


def test_the_split_is_the_same_on_every_machine() -> None:
    held_out = split_photos(MANY[:20], 0.2, seed=0)[1]
    assert [photo.path.name for photo in held_out] == ["4.jpg", "5.jpg", "7.jpg", "14.jpg"]


@pytest.mark.parametrize(("learnt", "held_out"), [("hat", "dress"), ("dress", "hat"), ("hat", "hat")])
def test_photographs_of_no_class_alone_are_refused(learnt: str, held_out: str) -> None:
    with pytest.raises(DataError, match=r"received \d+ and \d+ of 4"):
        require_classed([Photo(Path("a.jpg"), learnt)] * 2, [Photo(Path("b.jpg"), held_out)] * 2)
    require_classed([Photo(Path("a.jpg"), "dress")], [Photo(Path("b.jpg"), "dress")])


def test_other_photographs_have_another_digest_whatever_their_names(photo_folder: Path, tmp_path: Path) -> None:
    photos = list_photos(photo_folder)
    copied = list_photos(shutil.copytree(photo_folder, tmp_path / "copied"))
    assert digest_of(photos) == digest_of(photos[::-1]) == digest_of(copied)
    copied[0].path.write_bytes(copied[0].path.read_bytes() + b"changed")
    assert digest_of(photos) != digest_of(copied)


def test_the_right_labels_of_a_photograph_share_its_target_alike() -> None:
    (target,) = targets_of([Photo(Path("a.jpg"), "shoes")])
    assert dict(zip(LABELS, target, strict=True)) == {
        label: pytest.approx(1 / 3 if label in {"Sandal", "Sneaker", "Ankle boot"} else 0) for label in LABELS
    }


def test_where_one_label_of_several_was_given_by_eye_it_alone_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    boot, unknown = Photo(Path("a.jpg"), "shoes"), Photo(Path("b.jpg"), "shoes")
    monkeypatch.setitem(LABEL_OF, ("shoes", "a.jpg"), "Ankle boot")
    assert (boot.labels, unknown.labels) == (("Ankle boot",), CLASSES_OF["shoes"])
    assert (boot.is_told_apart, unknown.is_told_apart) == (True, False)
    learnt, allowed = targets_of([boot, unknown]), allowed_of([boot, unknown])
    assert learnt[0, LABELS.index("Ankle boot")] == 1
    assert np.array_equal(learnt[1], allowed[0])
    assert np.array_equal(allowed[0], allowed[1])


def test_what_was_given_by_eye_is_one_of_several_labels_of_the_folder() -> None:
    assert len(LABEL_OF) > 100
    for (folder, _), label in LABEL_OF.items():
        assert label in CLASSES_OF[folder]
        assert len(CLASSES_OF[folder]) > 1


def test_what_was_told_apart_and_what_has_one_label_anyway_are_measured_by_that_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = (("pants", "a.jpg"), ("longsleeve", "b.jpg"), ("longsleeve", "c.jpg"), ("longsleeve", "d.jpg"))
    photos = tuple(Photo(Path(name), folder) for folder, name in names)
    monkeypatch.setitem(LABEL_OF, ("longsleeve", "b.jpg"), "Pullover")
    monkeypatch.setitem(LABEL_OF, ("longsleeve", "c.jpg"), "Shirt")
    shirt = np.eye(10, dtype=np.float32)[[LABELS.index("Shirt")] * len(photos)]
    answered = AnsweredPhotos(
        photos, Answers(shirt, np.ones(len(photos), np.float32)), (), Answers(shirt[:0], shirt[:0, 0])
    )
    metrics = measure_photos_without_digest(monkeypatch, answered)
    assert metrics.accuracy == 3 / 4
    assert metrics.told_apart == {"longsleeve": FolderMetrics(n=2, right=1)}
    assert metrics.ece_equal_mass == pytest.approx(2 / 3)  # sure of three, right about one


def measure_photos_without_digest(monkeypatch: pytest.MonkeyPatch, answered: AnsweredPhotos) -> PhotoMetrics:
    """There are no files."""
    monkeypatch.setattr("training.photos.digest_of", lambda _: "0" * 64)
    return measure_photos(answered, [])


def test_a_photograph_becomes_what_the_service_would_make_of_it(photo_folder: Path) -> None:
    image = convert_photo(Photo(photo_folder / "pants" / "0.jpg", "pants"))
    assert image.shape == (28, 28)
    assert np.array_equal(image, convert(Image.open(photo_folder / "pants" / "0.jpg"), Mode.AUTO).image)
    assert (image[:, 0] == 0).all()  # trousers are narrow


def test_what_is_measured_is_the_share_of_right_labels_on_photographs_that_have_any(photo_folder: Path) -> None:
    learnt, held_out = split_photos(list_photos(photo_folder), 0.4, seed=0)
    shirts, trousers, hats = (
        [photo for photo in held_out if photo.folder == kind] for kind in ("t-shirt", "pants", "hat")
    )
    answered = answer_photos(always_a_shirt, held_out)
    assert answered.known == (*trousers, *shirts)
    assert answered.unknown == (*hats,)
    assert len(answered.of_unknown.familiarity) == len(hats) > 0
    metrics = measure_photos(answered, learnt)
    assert (metrics.held_out, metrics.learnt_from) == (len(answered.known), 20 - len(answered.known))
    assert metrics.accuracy == len(shirts) / len(answered.known)
    assert {name: (one.n, one.right) for name, one in metrics.folders.items()} == {
        "pants": (len(trousers), 0),
        "t-shirt": (len(shirts), len(shirts)),
    }
    assert metrics.digest == measure_photos(answer_photos(always_a_shirt, learnt), held_out).digest
    assert metrics.digest != measure_photos(answered, learnt[1:]).digest


def test_a_set_covers_a_photograph_when_one_of_its_labels_is_right(photo_folder: Path) -> None:
    answered = answer_photos(always_a_shirt, list_photos(photo_folder))
    trousers = np.array([photo.folder == "pants" for photo in answered.known])
    assert np.array_equal(answered.right, ~trousers)
    assert np.array_equal(answered.covered(np.eye(10, dtype=bool)[np.ones(20, int)]), trousers)
    assert answered.covered(np.ones((20, 10), bool)).all()


def always_a_shirt(images: np.ndarray) -> Answers:
    return Answers(np.tile(np.eye(10, dtype=np.float32)[0], (len(images), 1)), np.ones(len(images), np.float32))
