"""Decompression bombs of every format, decoded in a process of their own, so that no other memory is measured."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.bombs import BOMBS, MEASURED, MEBIBYTE

pytestmark = pytest.mark.skipif(not MEASURED.exists(), reason="measures by /proc")

MOST_MEBIBYTES = 120
"""Beyond the file itself: a few copies of its 10 MB, and what the decoder keeps."""
MOST_SECONDS = 5
"""Processor time; on an idle machine no bomb takes even one second."""


@pytest.fixture(scope="module")
def exploded() -> dict[str, tuple[str, int, float]]:
    done = subprocess.run([sys.executable, "-m", "tests.bombs"], capture_output=True, check=True, timeout=300)
    measured: dict[str, tuple[str, int, float]] = json.loads(done.stdout)
    return measured


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_gets_its_answer_and_neither_much_memory_nor_much_time(
    exploded: dict[str, tuple[str, int, float]], name: str
) -> None:
    outcome, peak_bytes, seconds = exploded[name]
    assert outcome in BOMBS[name].outcome.split(" or ")
    assert peak_bytes < MOST_MEBIBYTES * MEBIBYTE
    assert seconds < MOST_SECONDS
