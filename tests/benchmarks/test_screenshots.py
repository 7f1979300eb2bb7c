from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.imaging.framing import find_picture
from benchmarks.screenshots import SHOWN, measure
from tests.app.imaging.test_conversion import photograph
from tests.benchmarks.test_cutouts import KnowsShirts
from training.pictures.photos import Photo

if TYPE_CHECKING:
    from pathlib import Path

PHOTOGRAPH = photograph((200, 190, 170), (40, 60, 120))


@pytest.mark.parametrize("shown", SHOWN)
def test_the_photograph_is_found_whatever_is_around_it(shown: str) -> None:
    picture = SHOWN[shown](PHOTOGRAPH)
    colours = np.asarray(picture.reduce(max(1, max(picture.size) // 256)))
    left, top, right, bottom = find_picture(colours)
    assert (right - left) / (bottom - top) == pytest.approx(PHOTOGRAPH.width / PHOTOGRAPH.height, abs=0.02)


def test_shares_of_right_and_familiar_answers_are_measured(tmp_path: Path) -> None:
    (tmp_path / "t-shirt").mkdir()
    PHOTOGRAPH.save(tmp_path / "t-shirt" / "0.png")
    photos = [Photo(tmp_path / "t-shirt" / "0.png", "t-shirt")]
    for show in SHOWN.values():
        assert measure(photos, show, KnowsShirts()) == (1.0, 1.0)
