from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.classifier import SavedModelClassifier
from app.imaging.decode import decode
from app.settings import Settings
from benchmarks.disguise import GARMENTS, GROUNDS, disguise, measure

if TYPE_CHECKING:
    from training.data import Data


@pytest.mark.parametrize(("ground", "garment"), list(itertools.product(GROUNDS, GARMENTS)))
def test_a_test_image_disguised_as_a_catalogue_picture_is_answered_as_itself(
    data: Data, ground: str, garment: str
) -> None:
    classifier = SavedModelClassifier(Settings().model_dir)
    same, right, native = measure(classifier, data.test.take(slice(0, None, 2)), ground, garment, seed=0)
    assert same >= 0.9
    assert right >= native - 0.06


def test_a_disguised_image_is_dark_on_light_and_off_the_centre(data: Data) -> None:
    picture = decode(disguise(data.test.images[0], "pale", "tinted", np.random.default_rng(0)), "image/jpeg", 10**8)
    grey = np.asarray(picture.pixels.convert("L"))
    assert grey[0, 0] > 200
    assert grey.min() < 100
    assert picture.format == "JPEG"
