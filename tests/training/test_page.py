from __future__ import annotations

from pathlib import Path

from app.model_card import FolderMetrics, read_verified
from app.settings import Settings
from training.page import page

SHIPPED = read_verified(Path(Settings().model_dir))


def told_apart(**counts: FolderMetrics) -> str:
    assert SHIPPED.photos
    photos = SHIPPED.photos.model_copy(update={"told_apart": counts})
    return page(SHIPPED.model_copy(update={"photos": photos}))


def test_photographs_told_apart_are_shown_by_label_beside_a_constant_answer() -> None:
    text = told_apart(Pullover=FolderMetrics(n=74, right=60), Shirt=FolderMetrics(n=3, right=2))
    assert "always the same is right as often as this: Pullover 74 of 77.\n" in text
    assert "| Pullover | 74 | 60 | 81.1% |" in text
    assert "| Shirt | 3 | 2 | 66.7% |" in text


def test_a_card_that_counts_them_by_folder_is_shown_by_folder() -> None:
    text = told_apart(longsleeve=FolderMetrics(n=77, right=62))
    assert "| longsleeve | 77 | 62 | 80.5% |" in text
    assert "always the same may be right more often; the card has no count.\n" in text


def test_the_worst_folder_of_photographs_is_named_with_its_errors() -> None:
    assert "Of photographs it is outwear: 29%." in page(SHIPPED)
