from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from training.pictures.photos import list_photos
from training.segmenter.grabcut import separate
from training.segmenter.lessons import ATTEMPTS, LESSON_PIXELS, Lessons, teach

if TYPE_CHECKING:
    from pathlib import Path

    from training.pictures.photos import Photo


@pytest.fixture
def trousers(photo_folder: Path) -> Photo:
    return next(photo for photo in list_photos(photo_folder) if photo.folder == "pants")


def test_a_lesson_shows_where_the_attempts_agree(trousers: Photo) -> None:
    colours, garment = teach(trousers, separate, seed=0)
    assert colours.shape == (LESSON_PIXELS, LESSON_PIXELS, 3)
    # The trousers of `photo_folder` on a square: ground, two legs, ground.
    columns = (np.array([10, 37, 62, 90]) / 100 * LESSON_PIXELS).astype(int)
    assert (garment[LESSON_PIXELS // 2, columns] > 127).tolist() == [False, True, True, False]
    again = teach(trousers, separate, seed=0)
    assert np.array_equal(again[1], garment)


def test_each_attempt_sees_another_distortion_which_is_undone(trousers: Photo) -> None:
    seen: list[np.ndarray] = []

    def darker(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels)
        dark: np.ndarray = pixels.mean(axis=2) < 115
        return dark

    _, garment = teach(trousers, darker, seed=0)
    assert len(seen) == ATTEMPTS
    assert all((pixels != seen[0]).any() for pixels in seen[1:])
    undistorted = seen[0].mean(axis=2) < 115
    across = np.flatnonzero(undistorted[len(undistorted) // 2])
    row = garment[LESSON_PIXELS // 2] > 127
    assert np.flatnonzero(row)[[0, -1]] == pytest.approx(
        across[[0, -1]] * LESSON_PIXELS / undistorted.shape[1], abs=LESSON_PIXELS / 50
    )


def test_where_nothing_is_ever_found_the_lesson_is_empty(trousers: Photo) -> None:
    assert not teach(trousers, lambda _: None, seed=0)[1].any()


def test_only_clear_lessons_are_kept() -> None:
    garments = np.zeros((3, LESSON_PIXELS, LESSON_PIXELS), np.uint8)
    garments[0, 50:150, 50:150] = 255
    garments[1, 50:150, 50:150] = 140  # found by hardly more than half of the attempts
    colours = np.zeros((*garments.shape, 3), np.uint8)  # the third lesson has no garment
    colours[0] = 7
    clear = Lessons(colours, garments).unambiguous(0.3)
    assert clear.colours.shape == (1, LESSON_PIXELS, LESSON_PIXELS, 3)
    assert (clear.colours == 7).all()
