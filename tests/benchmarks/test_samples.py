from __future__ import annotations

import io

import numpy as np
from PIL import Image

from benchmarks.samples import FOLDER, samples


def test_the_samples_of_the_page_are_what_their_script_makes() -> None:
    made = samples()
    assert made.keys() == {path.name for path in FOLDER.iterdir()}
    for name, content in made.items():
        again, kept = (
            np.asarray(Image.open(io.BytesIO(one)), float) for one in (content, (FOLDER / name).read_bytes())
        )
        assert np.abs(again - kept).mean() < 1, name  # another processor may round differently
