from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.classifier import Answers
from app.model_card import Collection, FolderMetrics
from training.data import LABELS
from training.pictures.photos import COLLECTIONS, Photo, convert_photo, labels_by_eye, list_photos, split_photos
from training.trust.photo_metrics import AnsweredPhotos, answer_photos, constant_answers, measure_photos


def test_photographs_told_apart_or_of_a_single_label_are_measured_by_that_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = (("pants", "a.jpg"), ("longsleeve", "b.jpg"), ("longsleeve", "c.jpg"), ("longsleeve", "d.jpg"))
    photos = tuple(Photo(Path(name), folder) for folder, name in names)
    monkeypatch.setitem(labels_by_eye(), ("longsleeve", "b.jpg"), "Pullover")
    monkeypatch.setitem(labels_by_eye(), ("longsleeve", "c.jpg"), "Shirt")
    shirt = np.eye(10, dtype=np.float32)[[LABELS.index("Shirt")] * len(photos)]
    answered = AnsweredPhotos.of(photos, Answers(shirt, np.ones(len(photos), np.float32)))
    assert answered.right.tolist() == [False, True, True, True]
    assert answered.told_apart == {"Pullover": FolderMetrics(n=1, right=0), "Shirt": FolderMetrics(n=1, right=1)}
    assert answered.calibration_error == pytest.approx(2 / 3)  # certain of three, right about one
    allowed = [sorted(np.flatnonzero(row)) for row in answered.right_labels]
    assert allowed == [[1], [2], [6], [2, 6]]
    assert answered.of_one_label[1].tolist() == [False, False, True]


def test_a_constant_answer_is_right_on_the_most_frequent_label_of_each_folder() -> None:
    counts = {"Ankle boot": 3, "Pullover": 74, "Sandal": 8, "Shirt": 3, "Sneaker": 15}
    told_apart = {label: FolderMetrics(n=n, right=0) for label, n in counts.items()}
    assert constant_answers(told_apart) == "Pullover 74 of 77, Sneaker 15 of 26"
    assert constant_answers({"longsleeve": FolderMetrics(n=77, right=62)}) == ""


def test_accuracy_is_the_share_of_right_labels_on_photographs_that_have_a_class(photo_folder: Path) -> None:
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
    assert metrics.one_label == FolderMetrics(n=len(answered.known), right=len(shirts))
    assert metrics.ece_by_chance is not None
    assert 0 <= metrics.ece_by_chance < (metrics.ece_equal_mass or 0)
    assert {name: (one.n, one.right) for name, one in metrics.folders.items()} == {
        "pants": (len(trousers), 0),
        "t-shirt": (len(shirts), len(shirts)),
    }
    assert metrics.digest == measure_photos(answer_photos(always_a_shirt, learnt), held_out).digest
    assert metrics.digest != measure_photos(answered, learnt[1:]).digest


def test_photographs_that_all_allow_several_labels_give_no_figures_for_a_single_label(
    photo_folder: Path,
) -> None:
    shoes = [Photo(photo.path, "shoes") for photo in list_photos(photo_folder)[:4]]
    metrics = measure_photos(answer_photos(always_a_shirt, shoes), [])
    assert (metrics.held_out, metrics.one_label, metrics.ece_equal_mass, metrics.ece_by_chance) == (4, None, None, None)


def test_a_collection_is_known_by_its_digest(photo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learnt, held_out = split_photos(list_photos(photo_folder), 0.4, seed=0)
    answered = answer_photos(always_a_shirt, held_out)
    unknown = measure_photos(answered, learnt)
    assert unknown.collection is None
    collection = Collection(name="drawn", url="https://example.org", license="CC0-1.0")
    monkeypatch.setitem(COLLECTIONS, unknown.digest, collection)
    assert measure_photos(answered, learnt).collection == collection
    assert measure_photos(answered, learnt[1:]).collection is None


def test_a_photograph_is_right_when_its_folder_allows_the_label_and_is_known_to_be_seen_in_colour(
    photo_folder: Path,
) -> None:
    answered = answer_photos(always_a_shirt, list_photos(photo_folder))
    trousers = np.array([photo.folder == "pants" for photo in answered.known])
    assert np.array_equal(answered.right, ~trousers)
    converted = [convert_photo(photo).colours is not None for photo in answered.known]
    assert answered.seen.tolist() == converted
    assert any(converted)


def always_a_shirt(images: np.ndarray) -> Answers:
    return Answers(np.tile(np.eye(10, dtype=np.float32)[0], (len(images), 1)), np.ones(len(images), np.float32))
