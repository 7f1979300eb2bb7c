from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from app.classifier import SavedModelClassifier
from app.settings import Settings
from benchmarks.disguise import measure
from tests.fakes import FirstPixelClassifier
from training.pictures.disguise import GARMENTS, GROUNDS

if TYPE_CHECKING:
    from training.data import Data


def test_a_test_image_disguised_as_a_catalogue_picture_gets_the_same_answer(data: Data) -> None:
    classifier = SavedModelClassifier(Settings().model_dir)
    measured = dict(measure(classifier, data.test.take(slice(0, None, 2)), seed=0))
    assert [*measured] == [*itertools.product(GROUNDS, GARMENTS)]
    for same, right, native in measured.values():
        assert same >= 0.9
        assert right >= native - 0.06


def test_the_native_images_are_classified_once_for_all_disguises(data: Data) -> None:
    classifier = FirstPixelClassifier()
    split = data.test.take(slice(2))
    kinds = [kind for kind, _ in measure(classifier, split, seed=0)]
    assert len(classifier.seen) == 1 + len(kinds)
    assert sum(np.array_equal(seen, split.images) for seen in classifier.seen) == 1
