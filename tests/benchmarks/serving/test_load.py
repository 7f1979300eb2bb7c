from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from benchmarks.serving import load
from benchmarks.serving.load import Bodies, LoadError, Outcome, parse

if TYPE_CHECKING:
    from pathlib import Path

LINE = '{"requests": %d, "microseconds": 2000000, "p50": 1500, "p99": 9000, "status": 1, "socket": 2, "timeout": 4}'


def test_the_last_line_of_wrk_becomes_rate_times_and_errors() -> None:
    output = f"Running 2s test @ http://127.0.0.1:8200\n  1 threads and 16 connections\n\n{LINE % 400}\n"
    seen = parse(output, processor_seconds=0.5)
    assert seen == Outcome(rate=200, p50_milliseconds=1.5, p99_milliseconds=9, errors=7, load_cores=0.25)


def test_without_any_answer_the_latencies_are_the_duration_of_the_load() -> None:
    seen = parse(LINE % 0, processor_seconds=0)
    assert (seen.rate, seen.p50_milliseconds, seen.p99_milliseconds) == (0, 2000, 2000)


@pytest.mark.parametrize("output", ["", "unable to connect to 127.0.0.1:8200 Connection refused", "[]", "{}"])
def test_the_output_of_a_failed_load_is_reported(output: str) -> None:
    with pytest.raises(LoadError, match="expected wrk to end with a line of JSON, found"):
        parse(output, 0)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
@pytest.mark.usefixtures("tiny_server")
def test_wrk_sends_every_body_and_counts_what_is_refused(port: int, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{port}/"
    good = load.run(url, Bodies(tmp_path / "good", [b"one", b"two"], "image/png"), connections=2, seconds=1)
    assert good.rate > 0
    assert 0 < good.p50_milliseconds <= good.p99_milliseconds
    assert good.errors == 0
    assert 0 < good.load_cores < 1
    half = load.run(url, Bodies(tmp_path / "half", [b"one", b"bad"], "image/png"), connections=1, seconds=1)
    assert half.errors > 0.4 * half.rate  # half of them fail; a busy machine may take longer than a second
