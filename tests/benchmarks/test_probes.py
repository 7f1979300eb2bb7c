from __future__ import annotations

import time

import pytest

from benchmarks.probes import PATHS, ask, main


def test_every_path_is_timed(url: str) -> None:
    times = ask(url, time.monotonic() + 0.5)
    assert times.keys() == set(PATHS)
    assert min(len(of) for of in times.values()) >= 1
    assert all(0 < seconds < 60 for of in times.values() for seconds in of)


def test_where_no_service_runs_it_says_so_in_one_line(no_service: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--url", no_service])
    assert caught.value.code == 2
    assert f"error: expected a service at {no_service}, found none: " in capsys.readouterr().err
