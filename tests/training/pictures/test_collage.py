from __future__ import annotations

import numpy as np
import pytest

from training.pictures.collage import LEAST_SIDE, MOST_SIDE, collage

GREYS = [np.full((300, 200, 3), 40 * number, np.uint8) for number in range(1, 6)]


@pytest.mark.parametrize("count", [1, 5])
def test_a_collage_shows_pieces_of_the_pictures_and_nothing_else(count: int) -> None:
    made = [collage(GREYS[:count], np.random.default_rng(seed)) for seed in range(20)]
    for one in made:
        assert all(LEAST_SIDE <= side <= MOST_SIDE for side in one.shape[:2])
        assert {*np.unique(one).tolist()} <= {40 * number for number in range(1, count + 1)}
    assert {grey for one in made for grey in np.unique(one).tolist()} == {40 * number for number in range(1, count + 1)}


def test_the_same_seed_makes_the_same_collage_and_another_seed_another() -> None:
    noise = [np.random.default_rng(number).integers(0, 256, (50, 60, 3), np.uint8) for number in range(3)]
    one, again, other = (collage(noise, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_collage_can_be_made_of_pictures_of_one_pixel() -> None:
    made = collage([np.full((1, 1, 3), 7, np.uint8)] * 2, np.random.default_rng(0))
    assert made.min() == made.max() == 7
