from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from training.config import Distortion
from training.pictures.distortion import distort

STRENGTHS = list(asdict(Distortion()))


def only(**strengths: float) -> Distortion:
    """Return a distortion whose other strengths are 0."""
    return Distortion(**dict.fromkeys(STRENGTHS, 0.0) | strengths)


def picture() -> np.ndarray:
    """Draw a light square on a dark ground that is lighter at the bottom."""
    colours = np.tile(np.linspace(30, 90, 60)[:, None, None], (1, 40, 3)).astype(np.uint8)
    colours[20:40, 12:28] = (200, 180, 160)
    return colours


def test_without_strength_nothing_changes() -> None:
    assert np.abs(distort(picture(), only(), np.random.default_rng(0)).astype(int) - picture()).max() <= 1


@pytest.mark.parametrize("strength", STRENGTHS)
def test_every_strength_changes_the_picture_and_leaves_its_size(strength: str) -> None:
    config = only(**{strength: getattr(Distortion(), strength)})
    changed = [distort(picture(), config, np.random.default_rng(seed)) for seed in range(8)]
    assert all(one.shape == picture().shape and one.dtype == np.uint8 for one in changed)
    assert max(np.abs(one.astype(int) - picture()).mean() for one in changed) > 0.5


def test_the_same_seed_gives_the_same_distortion() -> None:
    first, again = (distort(picture(), Distortion(), np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, again)
