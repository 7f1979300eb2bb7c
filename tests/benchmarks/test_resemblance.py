from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.resemblance import above_median, features, similarities
from tests.app.imaging.test_conversion import photograph
from training.pictures.photos import Photo

if TYPE_CHECKING:
    from pathlib import Path


def test_a_photograph_is_most_similar_to_another_shot_of_itself(tmp_path: Path) -> None:
    shots = {
        "shot": photograph((200, 190, 170), (40, 60, 120)),
        "another": photograph((196, 186, 166), (40, 60, 120)),
        "green": photograph((60, 160, 70), (230, 30, 30)),
        "dark": photograph((20, 20, 25), (200, 200, 60)),
    }
    for name, picture in shots.items():
        picture.save(tmp_path / f"{name}.png")
    found = features([Photo(tmp_path / f"{name}.png", "t-shirt") for name in shots])
    alike = similarities(found[:1], found[1:])
    assert alike > similarities(found[:1], found[2:])
    np.testing.assert_allclose(similarities(found, found), 1, rtol=1e-5)


def test_each_folder_is_split_at_its_own_median() -> None:
    values = np.array([1, 2, 3, 30, 10, 20], np.float32)
    folders = ["hat", "hat", "hat", "shoes", "shoes", "shoes"]
    assert above_median(values, folders).tolist() == [False, False, True, True, False, False]
