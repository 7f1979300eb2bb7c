from __future__ import annotations

import pytest

from training.report import draw_curves
from training.train import Epoch


@pytest.mark.parametrize(("mixed", "measure"), [(False, ""), (True, ":\nagreement with the target's likeliest label")])
def test_the_curve_of_training_is_named_for_what_it_measures(mixed: bool, measure: str) -> None:  # noqa: FBT001  a case
    history = [Epoch(number, 0.5, 1.0, 0.6, 0.9, 1.0) for number in range(3)]
    accuracy, loss = ([line.get_label() for line in axes.lines] for axes in draw_curves(history, mixed=mixed).axes)
    assert accuracy == [f"training, augmented{measure}", "validation"]
    assert loss == ["training, augmented", "validation"]
