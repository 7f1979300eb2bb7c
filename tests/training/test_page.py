from __future__ import annotations

from pathlib import Path

from app.model_card import CalibrationMetrics, DamageMetrics, FolderMetrics, read_verified
from app.settings import Settings
from training.page import page

SHIPPED = read_verified(Path(Settings().model_dir))


def told_apart(**counts: FolderMetrics) -> str:
    assert SHIPPED.photos
    photos = SHIPPED.photos.model_copy(update={"told_apart": counts})
    return page(SHIPPED.model_copy(update={"photos": photos}))


def test_photographs_told_apart_are_shown_by_label_beside_a_constant_answer() -> None:
    text = told_apart(Pullover=FolderMetrics(n=74, right=60), Shirt=FolderMetrics(n=3, right=2))
    assert "A constant answer is right as often as this: Pullover 74 of 77.\n" in text
    assert "| Pullover | 74 | 60 | 81.1% |" in text
    assert "| Shirt | 3 | 2 | 66.7% |" in text


def test_a_collection_that_is_known_is_named() -> None:
    assert "photographs of [clothing-dataset-small](https://github.com/" in page(SHIPPED)
    assert SHIPPED.photos
    unknown = SHIPPED.photos.model_copy(update={"collection": None})
    assert "photographs.\nOf 572 others" in page(SHIPPED.model_copy(update={"photos": unknown}))


def test_the_worst_folder_of_photographs_is_named_with_its_errors() -> None:
    assert "Among photographs it is outwear: 16%." in page(SHIPPED)


def test_nothing_is_said_of_photographs_that_were_not_learnt_from() -> None:
    training = SHIPPED.training.model_copy(update={"config": SHIPPED.training.config | {"distillation": None}})
    plain = page(SHIPPED.model_copy(update={"photos": None, "training": training}))
    for of_photographs in ("have a threshold of their own", "other photographs of the same kinds", "not comparable"):
        assert of_photographs not in plain
        assert of_photographs in page(SHIPPED)
    assert "| asked for | least probability | true label inside | mean size | worst class |\n" in plain


def test_damage_is_shown_beside_undamaged_images_and_left_out_if_it_was_not_measured() -> None:
    damaged = tuple(DamageMetrics(strength=strength, accuracy=0.5, ece_equal_mass=0.1) for strength in (3, 4, 5, 7, 9))
    test = SHIPPED.metrics["test"]
    text = page(SHIPPED.model_copy(update={"corruptions": {"motion, pixels": damaged}}))
    undamaged = f"{test.accuracy:.1%}, {test.ece_equal_mass:.3f}, {SHIPPED.familiarity.flagged['test']:.0%}"
    assert f"| motion, pixels 3, 4, 5, 7, 9 | {undamaged} | {' | '.join(5 * ['50.0%, 0.100'])} |" in text
    assert "strength 1" not in page(SHIPPED.model_copy(update={"corruptions": {}}))


def test_calibration_is_shown_before_and_after() -> None:
    before = CalibrationMetrics(negative_log_likelihood=0.5, brier_score=0.2, ece_equal_mass=0.11, ece_equal_width=0.12)
    text = page(SHIPPED.model_copy(update={"uncalibrated": before}))
    assert "| test, before calibration | 10,000 | 0.1100 | 0.1200 | 0.5000 | 0.2000 |" in text
    assert "before calibration |" not in page(SHIPPED.model_copy(update={"uncalibrated": None}))
