"""What the commands print when they cannot measure."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def run(*command: str) -> tuple[int, str]:
    """Run a benchmark; return its exit code and the last line of its standard error."""
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    return done.returncode, done.stderr.splitlines()[-1] if done.stderr else ""


def test_a_picture_that_cannot_be_timed_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no picture")
    code, line = run("benchmarks.conversion", str(tmp_path / "missing.jpg"))
    assert (code, "No such file" in line) == (2, True)
    code, line = run("benchmarks.conversion", str(tmp_path / "a.txt"))
    assert (code, "cannot identify image file" in line) == (2, True)
    code, line = run("benchmarks.conversion", str(tmp_path / "a.txt"), "--rounds", "0")
    assert (code, "argument --rounds: invalid positive value: '0'" in line) == (2, True)


@pytest.mark.parametrize("command", ["benchmarks.photos", "benchmarks.cutouts"])
def test_a_photograph_that_cannot_be_read_is_reported_in_one_line(command: str, tmp_path: Path) -> None:
    (tmp_path / "dress").mkdir()
    (tmp_path / "dress" / "a.jpg").write_bytes(b"no picture")
    code, line = run(command, str(tmp_path))
    assert (code, "a.jpg: Expected an image as PNG" in line) == (2, True)


def test_asking_for_help_changes_no_sample() -> None:
    assert run("benchmarks.samples", "--help") == (0, "")
