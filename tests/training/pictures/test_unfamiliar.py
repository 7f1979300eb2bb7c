from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from training.pictures.unfamiliar import FAMILIES, handwritten_digits, letters_of_other_fonts, shuffled, upside_down

if TYPE_CHECKING:
    from training.data import Data


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_makes_as_many_new_images_and_the_same_ones_for_the_same_seed(family: str, data: Data) -> None:
    images = data.train.images[:40]
    made = FAMILIES[family](images, np.random.default_rng(0))
    assert made.shape == images.shape
    assert made.dtype == np.uint8
    assert (made != images).any(axis=(1, 2)).all()
    assert len(np.unique(made, axis=0)) == 40
    assert np.array_equal(made, FAMILIES[family](images, np.random.default_rng(0)))


def test_turning_an_image_upside_down_twice_restores_it(data: Data) -> None:
    rng = np.random.default_rng(0)
    assert np.array_equal(upside_down(upside_down(data.train.images, rng), rng), data.train.images)


def test_shuffling_keeps_every_pixel(data: Data) -> None:
    made = shuffled(data.train.images, np.random.default_rng(0))
    assert np.array_equal(np.sort(made.reshape(len(made), -1)), np.sort(data.train.images.reshape(len(made), -1)))


def test_letters_and_handwritten_digits_are_bright_on_black(data: Data) -> None:
    letters = letters_of_other_fonts(data.train.images[:50], np.random.default_rng(0))
    digits = handwritten_digits()
    assert letters.shape == (50, 28, 28)
    assert digits.shape == (1797, 28, 28)
    for images in (letters, digits):
        assert images.max(axis=(1, 2)).min() > 100
        assert np.median(images) < 64
