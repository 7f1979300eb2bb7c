from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.classifier import Answers
from app.imaging.conversion import Mode, convert
from app.imaging.decode import decode
from app.model_card import IMAGE_SHAPE, FolderMetrics
from benchmarks.photos import (
    Outcome,
    answer,
    answered,
    cell,
    choose,
    confusion,
    conversions,
    milliseconds,
    page,
    pick,
)
from tests.fakes import FirstPixelClassifier, make_card
from training.data import LABELS
from training.pictures.photos import Photo, labels_by_eye, split_photos


def outcome(folder: str, label: str, *, milliseconds: int = 1, mode: str = "photo", is_found: bool = True) -> Outcome:
    said = Answers(np.where(np.array(LABELS) == label, np.float32(0.91), np.float32(0.01)), np.ones(1, np.float32)[0])
    seconds = tuple(stage * milliseconds / 1000 for stage in (1, 2, 4, 3))
    return Outcome(Photo(Path("a.jpg"), folder), np.zeros(IMAGE_SHAPE, np.uint8), mode, is_found, said, seconds)


OUTCOMES = [
    outcome("dress", "Dress", milliseconds=1),
    outcome("hat", "Bag", milliseconds=2, is_found=False),
    outcome("longsleeve", "Coat", milliseconds=3),
    outcome("longsleeve", "Pullover", milliseconds=4, mode="catalogue"),
    outcome("longsleeve", "Shirt", milliseconds=5),
]


@pytest.fixture
def many(tmp_path: Path) -> list[Photo]:
    photos = [Photo(tmp_path / f"{number}.jpg", "dress") for number in range(100)]
    for photo in photos:
        photo.path.write_text(photo.path.name)
    return photos


@pytest.fixture
def photo(tmp_path: Path) -> Photo:
    """Return a photograph of a dark garment on a light ground."""
    picture = Image.new("RGB", (90, 120), (235, 232, 228))
    picture.paste((60, 40, 90), (30, 20, 60, 100))
    picture.save(tmp_path / "a.jpg")
    return Photo(tmp_path / "a.jpg", "dress")


def test_a_photograph_is_processed_like_every_upload(photo: Photo) -> None:
    classifier = FirstPixelClassifier()
    sent = answer(photo, classifier)
    expected = convert(decode(photo.path.read_bytes(), "image/jpeg", 10**8).pixels, Mode.AUTO)
    assert np.array_equal(sent.image, expected.image)
    assert np.array_equal(classifier.seen, [expected.image[None]])
    assert (sent.mode, sent.is_found) == (expected.mode, True)
    assert sent.label == LABELS[expected.image[0, 0] % len(LABELS)]
    assert sent.answer.probabilities.max() == pytest.approx(0.91)
    assert len(sent.seconds) == 4
    assert all(0 < seconds < 10 for seconds in sent.seconds)


def test_a_photograph_can_be_converted_in_another_mode_for_comparison(photo: Photo) -> None:
    sent = answer(photo, FirstPixelClassifier(), Mode.NONE)
    assert sent.mode == "none"
    assert sent.image[0, 0] > 200  # the ground is still there


def test_a_photograph_of_nothing_but_ground_has_no_garment(tmp_path: Path) -> None:
    Image.new("RGB", (90, 120), "white").save(tmp_path / "a.jpg")
    assert not answer(Photo(tmp_path / "a.jpg", "dress"), FirstPixelClassifier()).is_found


def test_an_answer_is_right_wrong_or_neither_if_no_class_would_be_right() -> None:
    assert [one.is_right for one in OUTCOMES] == [True, None, False, True, True]


def test_photographs_are_scored_as_in_training() -> None:
    scored = answered(OUTCOMES)
    assert [photo.folder for photo in scored.unknown] == ["hat"]
    assert scored.folders == {"dress": FolderMetrics(n=1, right=1), "longsleeve": FolderMetrics(n=3, right=2)}
    assert [LABELS[row.argmax()] for row in scored.of_unknown.probabilities] == ["Bag"]


def test_photographs_told_apart_by_eye_are_counted_by_the_one_label_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "by eye" not in page(OUTCOMES)
    monkeypatch.setitem(labels_by_eye(), ("longsleeve", "a.jpg"), "Pullover")
    lines = page(OUTCOMES).splitlines()
    start = lines.index("| label by eye | n | right | share | 95% interval |")
    assert lines[start + 2].startswith("| Pullover | 3 | 1 | 33.3% | ")
    assert "Always the same label would be right as often as this: Pullover 3 of 3." in lines
    assert "| longsleeve: Pullover, Shirt | 3 | 2 | 66.7% | 20.8% to 93.9% |" in lines


def test_probabilities_are_compared_with_how_often_the_one_label_that_fits_is_named() -> None:
    lines = page(OUTCOMES).splitlines()
    assert "One label alone fits 1; 1 of these get it, 100.0%." in lines
    chance = 2 * 0.91 * 0.09  # for a single answer with 0.91
    (line,) = (line for line in lines if line.startswith("Expected calibration error"))
    error, by_chance = map(float, re.findall(r"\d\.\d{3}", line))
    assert error == 0.09
    assert by_chance == pytest.approx(chance, abs=0.02)
    assert "calibration" not in page(OUTCOMES[1:3])


def test_photographs_that_no_label_fits_have_no_scores() -> None:
    lines = page(OUTCOMES[1:2]).splitlines()
    assert not any("overall" in line for line in lines)
    assert "| hat | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 1 | 0 |" in lines


def test_confusion_counts_every_folder() -> None:
    assert confusion(OUTCOMES) == {
        "dress": Counter({"Dress": 1}),
        "hat": Counter({"Bag": 1}),
        "longsleeve": Counter({"Coat": 1, "Pullover": 1, "Shirt": 1}),
    }


def test_times_are_the_median_and_the_95th_percentile_of_each_stage_and_of_their_sum() -> None:
    times = milliseconds(OUTCOMES)
    assert times.keys() == {"decode", "convert", "recognise", "classify", "together"}
    assert times["convert"] == pytest.approx((6, 9.6))
    assert times["recognise"] == pytest.approx((12, 19.2))
    assert times["together"] == pytest.approx((30, 48))


def test_conversions_count_the_modes_and_the_garments_not_found() -> None:
    assert conversions(OUTCOMES) == {"photo": (4, 1), "catalogue": (1, 0)}


def test_the_page_shows_every_figure() -> None:
    lines = page(OUTCOMES).splitlines()
    assert "| longsleeve: Pullover, Shirt | 3 | 2 | 66.7% | 20.8% to 93.9% |" in lines
    assert "| **overall** | 4 | 3 | 75.0% | 30.1% to 95.4% |" in lines
    assert "| longsleeve | 0 | 0 | **1** | 0 | 1 | 0 | **1** | 0 | 0 | 0 |" in lines
    assert "| hat | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 1 | 0 |" in lines
    assert "| together | 30.00 | 48.00 |" in lines
    assert "| `photo` | 4 | 1 |" in lines


def test_photographs_that_the_model_may_have_learnt_from_are_left_out_even_if_some_are_gone(many: list[Photo]) -> None:
    card = make_card()
    config = {"split_seed": 5, "photos": {"held_out_share": 0.3}}
    card = card.model_copy(update={"training": card.training.model_copy(update={"config": config})})
    held_out = split_photos(many, 0.3, 5)[1]
    photos, words = choose(many, card, everything=False)
    assert photos == held_out
    assert words == "those that training holds out (share 0.3, seed 5)"
    photos, _ = choose(many[1:], card, everything=False)
    assert photos == [photo for photo in held_out if photo != many[0]]


def test_for_a_model_without_photographs_those_that_the_other_networks_learnt_from_are_left_out(
    many: list[Photo],
) -> None:
    photos, words = choose(many, make_card(), everything=False)
    assert photos == split_photos(many, 0.2, 0)[1]
    assert words == "those that training holds out (share 0.2, seed 0)"


def test_all_photographs_are_measured_on_request(many: list[Photo]) -> None:
    assert choose(many, make_card(), everything=True) == (many, "all there are, whether learnt from or not")


def test_the_sheet_starts_with_wrong_answers_up_to_half_of_it_and_picks_evenly() -> None:
    assert [one.is_right for one in pick(OUTCOMES, 60)] == [False, True, True, True, None]
    assert [one.label for one in pick(OUTCOMES, 3)] == ["Coat", "Dress", "Bag"]
    assert [one.is_right for one in pick(8 * OUTCOMES, 10)][:6] == [False] * 5 + [True]


def test_a_cell_shows_the_photograph_beside_what_the_model_saw_and_said(photo: Photo) -> None:
    shown = cell(answer(photo, FirstPixelClassifier()))
    assert shown.photograph.size == (90, 120)
    assert shown.seen.shape == IMAGE_SHAPE
    assert (shown.answer, shown.kind, shown.is_right) == ("T-shirt/top 91%", "dress", False)
