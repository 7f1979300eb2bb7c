from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.command_line import add_arguments, find_pictures, run

PARSER = argparse.ArgumentParser(prog="command")


def test_files_are_kept_as_named_whatever_they_are() -> None:
    assert find_pictures(["boot.txt", "-", "./gone.png"], PARSER) == ["boot.txt", "-", "./gone.png"]


def test_a_folder_yields_its_pictures_and_those_of_its_subfolders_in_order_without_hidden_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b/2.jpg", "b/1.JPEG", "a/photo.heic", "c.webp", "c.txt", "jpg", ".hidden.png", ".hidden/1.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    monkeypatch.chdir(tmp_path)
    assert find_pictures(["./photos"], PARSER) == [
        os.path.join("./photos", name)  # noqa: PTH118  a Path forgets the ./
        for name in ("c.webp", "a/photo.heic", "b/1.JPEG", "b/2.jpg")
    ]


def test_a_name_that_is_too_long_is_a_file_like_any_other() -> None:
    assert find_pictures(["a" * 300], PARSER) == ["a" * 300]


def test_a_folder_that_cannot_be_read_is_listed_in_place_of_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boot.png").touch()
    monkeypatch.chdir(tmp_path)
    for _ in range(17):  # so deep that the whole path is too long; a mode of 000 would not stop root
        os.mkdir("a" * 250)  # noqa: PTH102  by a short name
        monkeypatch.chdir("a" * 250)
    picture, folder = find_pictures([str(tmp_path)], PARSER)
    assert picture == str(tmp_path / "boot.png")
    with pytest.raises(OSError, match="too long"):
        open(folder)  # noqa: PTH123, SIM115  it does not open


def test_by_default_the_conversion_is_automatic_and_the_format_is_a_table() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert vars(parser.parse_args(["a", "b"])) == {"pictures": ["a", "b"], "conversion": "auto", "format": "table"}
    assert parser.parse_args(["a", "--json"]).format == "json"


def test_a_command_exits_with_its_code() -> None:
    with pytest.raises(SystemExit) as caught:
        run(lambda: 7)
    assert caught.value.code == 7


@pytest.mark.parametrize(("is_full", "reason"), [(False, ""), (True, "standard output: No space left on device\n")])
def test_output_without_a_reader_or_without_room_ends_the_command_with_1_and_at_most_a_reason(
    reason: str, *, is_full: bool
) -> None:
    code = "from app.command_line import run; run(lambda: print('a line'))"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "w") as unread, Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full if is_full else unread,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, reason)


@pytest.mark.parametrize(
    ("encoding", "line"), [("utf-8", b"gr\xc3\xbc\xff\xe4\xb8\xad"), ("ascii", rb"gr\xfc\udcff\u4e2d")]
)
def test_a_name_is_written_as_it_is_except_what_standard_output_cannot_encode(encoding: str, line: bytes) -> None:
    code = r"from app.command_line import run; run(lambda: print('gr\xfc\udcff\u4e2d'))"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, line + b"\n", b"")


@pytest.mark.parametrize(
    ("closed", "out", "err"),
    [
        ("<&-", "0 bytes\n", "a warning\n"),
        (">&-", "", "a warning\n"),
        ("2>&-", "3 bytes\n", ""),
        ("<&- >&- 2>&-", "", ""),
    ],
)
def test_closed_standard_streams_lead_nowhere_and_the_others_keep_their_lines(closed: str, out: str, err: str) -> None:
    code = """
import sys
from app.command_line import run

def command():
    print(len(sys.stdin.buffer.read()), "bytes")
    print("a warning", file=sys.stderr)
    return 7 if [sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno()] == [0, 1, 2] else 8

run(command)
"""
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code],
        input="abc",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, out, err)


def test_an_interrupted_command_ends_at_once_and_quietly_with_all_its_lines() -> None:
    code = """
import threading, time
from app.command_line import run

def command():
    threading.Thread(target=time.sleep, args=[60]).start()
    print("a line")
    raise KeyboardInterrupt

run(command)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "a line\n", "")
