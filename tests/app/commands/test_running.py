from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.commands.running import run


def test_a_command_exits_with_its_code() -> None:
    with pytest.raises(SystemExit) as caught:
        run(lambda: 7)
    assert caught.value.code == 7


@pytest.mark.parametrize(("is_full", "reason"), [(False, ""), (True, "standard output: No space left on device\n")])
def test_output_without_a_reader_or_without_room_ends_the_command_with_1_and_at_most_a_reason(
    reason: str, *, is_full: bool
) -> None:
    code = "from app.commands.running import run; run(lambda: print('a line'))"
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
    code = r"from app.commands.running import run; run(lambda: print('gr\xfc\udcff\u4e2d'))"
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
from app.commands.running import run

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
from app.commands.running import run

def command():
    threading.Thread(target=time.sleep, args=[60]).start()
    print("a line")
    raise KeyboardInterrupt

run(command)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "a line\n", "")
