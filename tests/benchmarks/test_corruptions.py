from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.corruptions import CORRUPTIONS, cells, damage
from tests.fakes import FirstPixelClassifier
from training.evaluate import evaluate

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


def test_a_cell_says_how_often_it_is_right_and_how_wrong_its_confidence(data: Data) -> None:
    evaluation = evaluate(FirstPixelClassifier().classify, data.test)
    assert cells([evaluation, evaluation]) == " | ".join(
        [f"{evaluation.metrics.accuracy:.1%}, {evaluation.metrics.ece_equal_mass:.3f}"] * 2
    )
