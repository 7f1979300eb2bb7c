from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from app.imaging.conversion import OPAQUE, Mode, convert
from app.imaging.decode import FORMATS, decode
from tests.fuzz.files import written

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as `decode` does outside pytest

MAX_IMAGE_PIXELS = 10**6
ORIENTATIONS = (1, 6)  # upright and on its side; `test_decode` has all eight
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


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(
    ("mode", "kind"), [(mode, kind) for mode in Image.MODES for kind in FORMATS if can_be_written(mode, kind)]
)
@settings(derandomize=True, deadline=None, max_examples=2, database=None)
@example(size=(1, 1), conversion=Mode.AUTO)
@example(size=(5000, 10), conversion=Mode.PHOTO)
@given(size=SIZES, conversion=st.sampled_from(Mode))
def test_every_picture_becomes_an_image_for_the_model(
    mode: str, kind: str, orientation: int, size: tuple[int, int], conversion: Mode
) -> None:
    decoded = decode(written(mode, kind, size, orientation), "image/png", MAX_IMAGE_PIXELS)
    is_sideways = kind in EXIF_FORMATS and orientation in SIDEWAYS
    upright = size[::-1] if is_sideways else size
    assert (decoded.format, decoded.width, decoded.height) == (kind, *upright)
    assert decoded.pixels.mode in {"L", "RGB"}
    assert decoded.pixels.size == tuple(-(-side // decoded.reduction) for side in upright)
    assert fits_the_model(convert(decoded.pixels, conversion, decoded.opacity).image)


@settings(derandomize=True, deadline=None, max_examples=100, database=None)
@example(size=(5000, 10), box=(0, 0, 1, 1), level=255)
@given(size=SIZES, box=st.tuples(*[st.integers(0, 5000)] * 4), level=st.sampled_from([1, OPAQUE, OPAQUE + 1, 254, 255]))
def test_every_picture_on_a_transparent_ground_becomes_an_image_for_the_model(
    size: tuple[int, int], box: tuple[int, int, int, int], level: int
) -> None:
    opacity = Image.new("L", size)
    opacity.paste(level, box)
    assert fits_the_model(convert(Image.new("RGB", size, "navy"), Mode.AUTO, opacity).image)
