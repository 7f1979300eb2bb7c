from __future__ import annotations

import errno
from typing import IO, TYPE_CHECKING

import numpy as np
import pytest

from training.cache import cached

if TYPE_CHECKING:
    from pathlib import Path


def test_arrays_are_kept_and_not_made_again(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> dict[str, np.ndarray]:
        made.append(1)
        return {"one": np.arange(3), "two": np.eye(2)}

    for _ in range(2):
        arrays = cached(tmp_path / "runs" / "kept.npz", make)
        assert arrays["one"].tolist() == [0, 1, 2]
        assert np.array_equal(arrays["two"], np.eye(2))
    assert made == [1]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["kept.npz"]


@pytest.mark.parametrize("part", [0, 60, -40])
def test_a_damaged_file_is_made_again(tmp_path: Path, part: int, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "kept.npz"
    cached(path, lambda: {"one": np.arange(3)})
    path.write_bytes(path.read_bytes()[:part])
    assert cached(path, lambda: {"one": np.arange(4)})["one"].tolist() == [0, 1, 2, 3]
    assert caplog.messages == [f"{path} is damaged, and is made anew"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail() -> dict[str, np.ndarray]:
        msg = "stopped"
        raise RuntimeError(msg)

    with pytest.raises(RuntimeError):
        cached(tmp_path / "kept.npz", fail)
    assert not [*tmp_path.iterdir()]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: IO[bytes], **_: object) -> None:
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        cached(tmp_path / "kept.npz", lambda: {"one": np.arange(3)})
    assert not [*tmp_path.iterdir()]
