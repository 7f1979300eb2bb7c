from __future__ import annotations

import numpy as np
import pytest

from app.imaging.segmentation import separate
from training.pictures.misjudging import misjudge, separate_badly


def mask(margin: int = 24) -> np.ndarray:
    share = np.zeros((96, 96), np.float32)
    share[margin : 96 - margin, margin : 96 - margin] = 1
    return share


def test_a_piece_at_the_outline_is_lost_or_added() -> None:
    changes = [misjudge(mask(), np.random.default_rng(seed)) - mask() for seed in range(40)]
    signs = {(change.min(), change.max()) for change in changes}
    assert signs == {(-1.0, 0.0), (0.0, 1.0)}, "always one of the two, and both happen"
    for change in changes:
        rows, columns = np.nonzero(change)
        assert 1 <= len(rows) < 0.15 * mask().sum()
        assert max(np.ptp(rows), np.ptp(columns)) <= 0.4 * 48
        # The piece touches the outline.
        assert min(np.abs(line - edge).min() for line in (rows, columns) for edge in (23, 24, 71, 72)) <= 1


def test_a_garment_that_fills_the_frame_has_an_outline_too() -> None:
    lost = [misjudge(mask(margin=0), np.random.default_rng(seed)).sum() < mask(margin=0).sum() for seed in range(20)]
    assert 0 < sum(lost) < 20


def test_the_same_seed_makes_the_same_mistake() -> None:
    first, again = (misjudge(mask(), np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("side", [4, 96])
def test_a_picture_without_a_garment_stays_without_one(side: int) -> None:
    nothing = np.full((side, side, 3), 200, np.uint8)
    assert separate(nothing) is None
    assert separate_badly(nothing, np.random.default_rng(0)) is None
