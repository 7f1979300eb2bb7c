"""What the commands print when they cannot measure."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks import calibration, conversion, copies, cutouts, disguise, photos, screenshots, stages
from benchmarks.samples import FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Main = Callable[[], None]


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs a command, which has to refuse its arguments, and returns its last line."""

    def refusal(main: Main, *arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["command", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    return refusal


def test_a_picture_that_cannot_be_timed_is_reported_in_one_line(refusal: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no picture")
    assert "No such file" in refusal(conversion.main, str(tmp_path / "missing.jpg"))
    assert "cannot identify image file" in refusal(conversion.main, str(tmp_path / "a.txt"))
    refused = refusal(conversion.main, str(tmp_path / "a.txt"), "--rounds", "0")
    assert "argument --rounds: invalid positive value: '0'" in refused


@pytest.mark.parametrize(
    "main", [photos.main, cutouts.main, screenshots.main], ids=["photos", "cutouts", "screenshots"]
)
def test_a_photograph_that_cannot_be_read_is_reported_in_one_line(
    main: Main, refusal: Callable[..., str], artifact: Path, tmp_path: Path
) -> None:
    (tmp_path / "dress").mkdir()
    (tmp_path / "dress" / "a.jpg").write_bytes(b"no picture")
    assert "a.jpg: Expected an image as PNG" in refusal(main, str(tmp_path), "--model", str(artifact))


@pytest.mark.parametrize("command", ["calibration", "copies", "disguise", "stages"])
def test_a_folder_without_a_model_is_refused_in_one_line(
    command: str, refusal: Callable[..., str], tmp_path: Path
) -> None:
    mains = {"calibration": calibration, "copies": copies, "disguise": disguise, "stages": stages}
    assert refusal(mains[command].main, "--model", str(tmp_path)).startswith(
        f"python -m benchmarks.{command}: error: {tmp_path}"
    )


def test_asking_for_help_changes_no_sample() -> None:
    written = {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()}
    subprocess.run([sys.executable, "-m", "benchmarks.samples", "--help"], capture_output=True, check=True)
    assert {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()} == written
