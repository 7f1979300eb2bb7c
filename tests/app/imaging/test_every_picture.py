from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.imaging.conversion import Mode, convert
from app.imaging.decode import FORMATS, decode
from tests.fuzz.files import written

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as `decode` does where it serves

MAX_IMAGE_PIXELS = 10**6
EXIF_FORMATS = {"PNG", "JPEG", "WEBP", "TIFF"}
SIDEWAYS = range(5, 9)


def fits_the_model(image: NDArray[np.uint8]) -> bool:
    return image.shape == (28, 28) and image.dtype == np.uint8


def can_be_written(mode: str, kind: str) -> bool:
    try:
        written(mode, kind, (2, 2))
    except (OSError, ValueError):
        return False
    return True


SIZES = st.one_of(
    st.tuples(st.integers(1, 64), st.integers(1, 64)),
    st.tuples(st.integers(1, 5000), st.integers(1, 10)),
    st.tuples(st.integers(1, 10), st.integers(1, 5000)),
)


@pytest.mark.parametrize(
    ("mode", "kind"), [(mode, kind) for mode in Image.MODES for kind in FORMATS if can_be_written(mode, kind)]
)
@settings(derandomize=True, deadline=None, max_examples=8, database=None)
@given(size=SIZES, orientation=st.integers(1, 8), conversion=st.sampled_from(Mode))
def test_every_picture_becomes_an_image_for_the_model(
    mode: str, kind: str, size: tuple[int, int], orientation: int, conversion: Mode
) -> None:
    decoded = decode(written(mode, kind, size, orientation), "image/png", MAX_IMAGE_PIXELS)
    is_sideways = kind in EXIF_FORMATS and orientation in SIDEWAYS
    assert (decoded.format, decoded.width, decoded.height) == (kind, *size)
    assert decoded.pixels.mode in {"L", "RGB"}
    upright = size[::-1] if is_sideways else size
    assert decoded.pixels.size == tuple(-(-side // decoded.reduction) for side in upright)
    assert fits_the_model(convert(decoded.pixels, conversion).image)
