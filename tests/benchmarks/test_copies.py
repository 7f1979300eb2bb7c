from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.classifier import SavedModelClassifier
from app.settings import Settings
from benchmarks.copies import COPIES, measure

if TYPE_CHECKING:
    from training.data import Data


@pytest.mark.parametrize(
    ("copy", "lost"),
    [
        ("enlarged", 0.05),
        ("enlarged, black on white", 0.05),
        ("imshow, gray", 0.1),
        ("imshow, binary", 0.1),
        ("imshow, viridis", 0.4),
    ],
)
def test_most_images_get_their_label_from_a_copy_too(copy: str, lost: float, data: Data) -> None:
    classifier, split = SavedModelClassifier(Settings().model_dir), data.test.take(slice(40))
    as_it_is, _ = measure(classifier, split, COPIES["original"])
    right, familiar = measure(classifier, split, COPIES[copy])
    assert as_it_is > 0.8
    assert right >= as_it_is - lost
    assert familiar > 0.3
