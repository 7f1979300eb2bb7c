from __future__ import annotations

import pytest
from PIL import Image

from app.imaging.decode import decode
from benchmarks.conversion import MOST_MILLISECONDS, SIZES, measure, missed, pictures


@pytest.fixture(scope="module")
def encoded() -> dict[str, bytes]:
    return dict(pictures(Image.new("RGB", (40, 53), "red")))


def test_a_photograph_is_timed_in_every_size_and_format(encoded: dict[str, bytes]) -> None:
    sizes = {name: decode(data, "", 10**8) for name, data in encoded.items()}
    assert {name: (one.format, one.width, one.height) for name, one in sizes.items()} == {
        "28x28 PNG": ("PNG", 28, 28),
        **{name: ("JPEG", *size) for name, size in SIZES.items()},
    }


def test_the_median_is_under_the_95th_percentile(encoded: dict[str, bytes]) -> None:
    small = {name: data for name, data in encoded.items() if name != "12-megapixel JPEG"}
    times = measure(small, rounds=5)
    assert times.keys() == small.keys()
    assert all(0 < median <= slow for median, slow in times.values())


def test_only_the_median_decides_whether_a_promise_is_missed() -> None:
    kept = {name: (most, 10 * most) for name, most in MOST_MILLISECONDS.items()}
    assert missed(kept) == []
    assert missed(kept | {"400x533 JPEG": (8.01, 8.02)}) == ["400x533 JPEG"]
