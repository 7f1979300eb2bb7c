from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from training.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = 40
WRITER = """
import itertools, sys
from pathlib import Path
from training.atomic import replacing
for generation in itertools.count():
    with replacing(Path(sys.argv[1])) as staging:
        for number in range(int(sys.argv[2])):
            (staging / str(number)).write_text(str(generation))
"""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Create a folder and replace it repeatedly in another process; the block begins once it exists."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(FILES)]) as writer:
        try:
            deadline = time.monotonic() + 60
            while not folder.exists():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield
        finally:
            writer.kill()


def generations(folder: Path) -> set[str]:
    """Return the distinct contents of a folder's files, of which none may be missing."""
    files = list(folder.iterdir())
    assert len(files) == FILES
    return {file.read_text() for file in files}


def test_a_folder_is_created_and_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "1"
    for content in ("old", "new"):
        with replacing(folder) as staging:
            (staging / "file").write_text(content)
        assert [path.name for path in folder.iterdir()] == ["file"]
        assert (folder / "file").read_text() == content
    assert [path.name for path in folder.parent.iterdir()] == ["1"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_link_keeps_pointing_to_the_folder_that_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder := tmp_path / "1").symlink_to(tmp_path / "elsewhere")
    for content in ("old", "new"):
        with replacing(folder) as staging:
            (staging / "file").write_text(content)
        assert folder.is_symlink()
        assert (tmp_path / "elsewhere" / "file").read_text() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "elsewhere"]


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "1"
    with replacing(folder) as staging:
        (staging / "file").write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(folder) as staging:
        (staging / "file").write_text(str(1 / 0))
    assert (folder / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_the_leftovers_of_a_killed_job_are_removed_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "1"
    folder.mkdir()
    (tmp_path / ".1-staging-killed").mkdir()
    (tmp_path / ".1-notes").mkdir()
    with replacing(folder):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"1", ".1-notes"}


def test_where_folders_cannot_be_exchanged_two_renames_replace_them(tmp_path: Path) -> None:
    def cannot(_: Path, __: Path) -> None:
        raise AttributeError

    folder = tmp_path / "1"
    for content in ("old", "new"):
        with replacing(folder, exchange=cannot) as staging:
            (staging / "file").write_text(content)
        assert (folder / "file").read_text() == content
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_job_killed_at_any_moment_leaves_one_whole_generation(tmp_path: Path) -> None:
    for attempt in range(3):
        with writing(tmp_path / str(attempt)):
            time.sleep(0.05 + 0.0137 * attempt)
        assert len(generations(tmp_path / str(attempt))) == 1


def test_a_folder_exists_at_every_moment_while_it_is_replaced(tmp_path: Path) -> None:
    deadline, seen = time.monotonic() + 60, set[int]()
    with writing(tmp_path / "1"):
        while len(seen) < 100:
            handle = os.open(tmp_path / "1", os.O_RDONLY)  # fails if the folder is missing even for a moment
            seen.add(os.fstat(handle).st_mtime_ns)
            os.close(handle)
            assert time.monotonic() < deadline
