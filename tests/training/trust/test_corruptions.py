from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.fakes import FirstPixelClassifier
from training.trust.corruptions import CORRUPTIONS, damage, measure_corruption, motion
from training.trust.evaluate import evaluate

if TYPE_CHECKING:
    from training.data import Data


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_each_damage_grows_with_its_strength_and_is_the_same_for_a_seed(kind: str, data: Data) -> None:
    corrupt, strengths = CORRUPTIONS[kind]
    damaged = [damage(data.test, corrupt, strength, seed=0) for strength in strengths]
    lost = [np.abs(one.images.astype(int) - data.test.images).mean() for one in damaged]
    assert len(lost) == 5
    assert lost == sorted(lost)
    assert lost[0] > 0
    assert all(np.array_equal(one.class_ids, data.test.class_ids) for one in damaged)
    assert np.array_equal(damaged[0].images, damage(data.test, corrupt, strengths[0], seed=0).images)


@pytest.mark.parametrize("length", [3, 4, 5, 7, 9])
def test_motion_smears_a_point_over_its_length_and_leaves_it_where_it_is(length: float) -> None:
    image = np.zeros((29, 29), np.uint8)
    image[14, 14] = 255
    for seed in range(20):
        smeared = motion(image, length, np.random.default_rng(seed)).astype(float)
        places, shares = np.indices(image.shape) - 14, smeared / smeared.sum()
        assert (shares * places).sum(axis=(1, 2)) == pytest.approx([0, 0], abs=1e-9)
        # A line's variance is a twelfth of its squared length; rotation blurs it, and pixels round it.
        assert (shares * (places**2).sum(axis=0)).sum() == pytest.approx(length**2 / 12, abs=0.6)


def test_a_model_is_measured_on_images_damaged_to_each_strength(data: Data) -> None:
    classify = FirstPixelClassifier().classify
    corrupt, strengths = CORRUPTIONS["brightness, share"]
    measured = measure_corruption(classify, data.test, "brightness, share")
    assert tuple(one.strength for one in measured) == strengths
    for one in measured:
        metrics = evaluate(classify, damage(data.test, corrupt, one.strength, seed=0)).metrics
        assert (one.accuracy, one.ece_equal_mass) == (metrics.accuracy, metrics.ece_equal_mass)
