from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from app.imaging.decode import decode
from training.pictures.disguise import disguise

if TYPE_CHECKING:
    from training.data import Data


def test_a_disguised_image_is_dark_on_light_and_off_the_centre(data: Data) -> None:
    picture = decode(disguise(data.test.images[0], "pale", "tinted", np.random.default_rng(0)), "image/jpeg", 10**8)
    grey = np.asarray(picture.pixels.convert("L"))
    assert grey[0, 0] > 200
    assert grey.min() < 100
    assert picture.format == "JPEG"


def test_a_disguise_depends_on_nothing_but_the_generator(data: Data) -> None:
    first, again, other = (
        disguise(data.test.images[0], "white", "black", np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
