from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from app.telemetry.tally import JOINS, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    import pytest

CELL = JOINS + 1
spawn = multiprocessing.get_context("spawn")


def count(tally: Tally, amount: float, connection: Connection) -> None:
    """Add to a cell, report the totals and the living processes seen here, and stay until told to end."""
    tally.join()[CELL] += amount
    connection.send((tally.totals()[: CELL + 1], {row: pid for row, (pid, _) in tally.living().items()}))
    connection.recv()


@contextmanager
def counting(tally: Tally, amount: float) -> Iterator[tuple[SpawnProcess, list[float], dict[int, int]]]:
    """Run a process that counts, started as uvicorn starts its workers."""
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=count, args=(tally, amount, theirs))
    process.start()
    try:
        assert ours.poll(60)
        yield process, *ours.recv()
        ours.send(None)
    finally:
        process.join(60)
        process.close()
        ours.close()


def test_processes_count_together_and_what_one_counted_outlives_it() -> None:
    tally = Tally.shared(2)
    with counting(tally, 5.0) as (first, _, alone):
        assert alone == {0: first.pid}
        with counting(tally, 7.0) as (second, totals, living):
            assert totals == [2.0, 12.0]
            assert living == {0: first.pid, 1: second.pid}
            assert first.pid
            os.kill(first.pid, signal.SIGKILL)
            first.join(60)
            with counting(tally, 0.5) as (third, totals_after, living_after):
                assert totals_after == [3.0, 12.5]
                assert living_after == {0: third.pid, 1: second.pid}


def test_a_tally_that_is_not_shared_belongs_to_its_process() -> None:
    tally = Tally()
    tally.join()[CELL] += 3
    with counting(tally, 4.0) as (_, totals, _):
        assert totals == [1.0, 4.0]
    assert tally.totals()[CELL] == 3.0
    assert list(tally.living()) == [0]


def refuse(_: str) -> int:
    msg = "no memory"
    raise OSError(msg)


def test_if_memory_cannot_be_shared_each_process_counts_alone() -> None:
    with (
        counting(Tally.shared(2, refuse), 1.0) as (_, first, _),
        counting(Tally.shared(2, refuse), 2.0) as (_, second, _),
    ):
        assert [first, second] == [[1.0, 1.0], [1.0, 2.0]]


def test_a_python_built_without_memory_files_counts_alone_too_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")  # builds against an old glibc lack it; no argument can simulate that
    with structlog.testing.capture_logs() as logged:
        tally = Tally.shared(2)
    assert tally.join()[JOINS] == 1
    assert [(line["log_level"], line["reason"]) for line in logged] == [("warning", "this Python has no memfd_create")]


def test_a_process_for_which_no_row_is_left_counts_alone() -> None:
    tally = Tally.shared(1)
    with counting(tally, 1.0), counting(tally, 2.0), counting(tally, 4.0) as (third, totals, living):
        assert totals == [1.0, 4.0]
        assert living == {0: third.pid}


def open_tallies() -> list[str]:
    return [target for link in Path("/proc/self/fd").iterdir() if "tally" in (target := os.path.realpath(link))]


def test_shared_rows_are_a_file_without_a_path() -> None:
    before = open_tallies()
    assert Tally.shared(2).join()[JOINS] == 1
    assert len(open_tallies()) == len(before) + 1
    assert not any(Path(target).exists() for target in open_tallies())
