"""Decompression bombs of every format, in a process of their own, so that its memory is theirs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.bombs import BOMBS, MEASURED, MEBIBYTE

pytestmark = pytest.mark.skipif(not MEASURED.exists(), reason="measures by /proc")

MOST_MEBIBYTES = 120
"""Beside the file itself: 10 MB of it, copied a few times, and what its decoder keeps."""
MOST_SECONDS = 5
"""Of processor; on a quiet machine none takes one."""


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
