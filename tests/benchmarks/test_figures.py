from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.classifier import SavedModelClassifier
from app.settings import Settings
from benchmarks.figures import measure

if TYPE_CHECKING:
    from training.data import Data


@pytest.mark.parametrize(("colours", "lost"), [("gray", 0.1), ("viridis", 0.4)])
def test_most_images_get_their_label_from_a_figure_too(colours: str, lost: float, data: Data) -> None:
    classifier, split = SavedModelClassifier(Settings().model_dir), data.test.take(slice(40))
    native, _ = measure(classifier, split, None)
    right, familiar = measure(classifier, split, colours)
    assert native > 0.8
    assert right >= native - lost
    assert familiar > 0.3
