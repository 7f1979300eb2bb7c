from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.imaging.segmentation import SIDE
from training.segmenter.lessons import LESSON_PIXELS, Lessons
from training.segmenter.scenes import Studio

if TYPE_CHECKING:
    from training.data import Data


@pytest.fixture
def studio(data: Data) -> Studio:
    """Return a studio with one lesson: a red square on a grey ground."""
    colours = np.full((1, LESSON_PIXELS, LESSON_PIXELS, 3), 128, np.uint8)
    garments = np.zeros(colours.shape[:3], np.uint8)
    colours[0, 60:130, 60:130] = (200, 30, 30)
    garments[0, 60:130, 60:130] = 255
    return Studio(Lessons(colours, garments), data.train.images)


def test_scenes_are_pictures_with_a_mask_of_their_garment(studio: Studio) -> None:
    scenes = [studio.scene(np.random.default_rng(seed)) for seed in range(60)]
    for colours, garment in scenes:
        assert colours.shape == (SIDE, SIDE, 3)
        assert colours.dtype == np.uint8
        assert garment.shape == (SIDE, SIDE)
        assert garment.dtype == np.float32
        assert 0 <= garment.min() <= garment.max() <= 1
    areas = np.array([garment.mean() for _, garment in scenes])
    assert 0 < (areas == 0).mean() < 0.2  # a few grounds without a garment
    assert (areas > 0.02).mean() > 0.8


def test_the_garment_is_where_the_picture_shows_it(studio: Studio) -> None:
    differences = []
    for seed in range(60):
        colours, garment = studio.scene(np.random.default_rng(seed))
        inside, outside = garment > 0.9, garment < 0.1
        if inside.sum() > 100:
            differences.append(np.abs(colours[inside].mean(axis=0) - colours[outside].mean(axis=0)).max())
    assert np.median(differences) > 40


def test_the_same_generator_draws_the_same_scene(studio: Studio) -> None:
    first, again = (studio.scene(np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])


def test_a_ground_is_taken_from_beside_a_garment(data: Data) -> None:
    colours = np.full((1, LESSON_PIXELS, LESSON_PIXELS, 3), 255, np.uint8)
    garments = np.full(colours.shape[:3], 255, np.uint8)
    colours[0, -40:], garments[0, -40:] = (0, 120, 0), 0
    studio = Studio(Lessons(colours, garments), data.train.images)
    grounds = [studio._ground(np.random.default_rng(seed)).mean(axis=(0, 1)) for seed in range(20)]  # noqa: SLF001  none of it is garment
    # They are green, or red or blue where channels were exchanged.
    assert np.median([np.ptp(ground) for ground in grounds]) > 0.2
    assert np.max(grounds) < 0.9


def test_without_ground_beside_the_garment_one_is_made_up(data: Data) -> None:
    full = np.full((1, LESSON_PIXELS, LESSON_PIXELS), 255, np.uint8)
    studio = Studio(Lessons(np.repeat(full[..., None], 3, axis=3), full), data.train.images)
    grounds = [studio._ground(np.random.default_rng(seed)) for seed in range(8)]  # noqa: SLF001  as above
    assert len({ground.tobytes() for ground in grounds}) == 8
