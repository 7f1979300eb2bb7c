from __future__ import annotations

import pytest

from training.report import draw_curves
from training.train import Epoch


@pytest.mark.parametrize(
    ("mixed", "agreement", "against"),
    [
        (False, "", ""),
        (True, ":\nagreement with the target's likeliest label", ":\nagainst softer targets, so not comparable"),
    ],
)
def test_the_curve_of_training_is_named_for_what_it_measures(mixed: bool, agreement: str, against: str) -> None:  # noqa: FBT001  a case
    history = [Epoch(number, 0.5, 1.0, 0.6, 0.9, 1.0) for number in range(3)]
    accuracy, loss = ([line.get_label() for line in axes.lines] for axes in draw_curves(history, mixed=mixed).axes)
    assert accuracy == [f"training, augmented{agreement}", "validation"]
    assert loss == [f"training, augmented{against}", "validation"]
