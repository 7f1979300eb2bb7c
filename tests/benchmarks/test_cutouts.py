from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from app.classifier import Answers
from benchmarks.cutouts import PALEST, cut_out, on_white, rows
from tests.app.imaging.test_conversion import photograph, shirt_mask
from tests.fakes import FirstPixelClassifier
from training.data import LABELS
from training.pictures.photos import Photo

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PHOTOGRAPH = photograph((200, 190, 170), (40, 60, 120))
COLOURS = np.asarray(PHOTOGRAPH)


class KnowsShirts(FirstPixelClassifier):
    """Calls whatever has the outline of the drawn shirt a T-shirt, and anything else a bag."""

    def classify(self, images: NDArray[np.uint8]) -> Answers:
        """Recognise the sleeves: wide above, narrow below."""
        widths = (images > 0).sum(axis=2)
        is_shirt = (widths[:, 2:6].mean(axis=1) > 1.3 * widths[:, 18:26].mean(axis=1)) & (widths[:, 20] > 5)
        named = np.where(is_shirt, LABELS.index("T-shirt/top"), LABELS.index("Bag"))
        return Answers(np.eye(10, dtype=np.float32)[named], np.ones(len(images), np.float32))


@pytest.mark.parametrize("is_bleached", [False, True])
def test_the_ground_becomes_transparent_and_the_garment_stays(*, is_bleached: bool) -> None:
    picture = np.asarray(cut_out(PHOTOGRAPH, is_bleached=is_bleached))
    opaque = picture[..., 3] > 127
    assert (opaque != shirt_mask()).mean() < 0.03
    cloth = picture[..., :3][opaque & shirt_mask()]
    assert (np.percentile(cloth, 5) >= PALEST - 1) == is_bleached
    assert is_bleached or np.array_equal(picture[..., :3], COLOURS)


def test_a_cut_out_laid_on_white_keeps_nothing_of_its_ground() -> None:
    picture = on_white(Image.fromarray(np.dstack([COLOURS, np.zeros(COLOURS.shape[:2], np.uint8)])))
    assert picture.mode == "RGB"
    assert (np.asarray(picture) == 255).all()


def test_the_table_has_shares_of_right_answers_for_both_grounds(tmp_path: Path) -> None:
    (tmp_path / "t-shirt").mkdir()
    for number in range(3):
        Image.fromarray(COLOURS).save(tmp_path / f"t-shirt/{number}.jpg", quality=95)
    Image.new("RGB", (240, 320), "grey").save(tmp_path / "t-shirt/3.jpg")
    photos = [Photo(path, "t-shirt") for path in sorted((tmp_path / "t-shirt").iterdir())]
    found = {cloth: shares for cloth, *shares in rows(photos, KnowsShirts())}
    assert found["as it is"] == ["75.0%", "75.0%"]
    assert found["bleached"][0] == "75.0%"
