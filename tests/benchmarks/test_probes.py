from __future__ import annotations

import time

from benchmarks.probes import PATHS, ask


def test_every_path_is_asked_again_and_again(url: str) -> None:
    times = ask(url, time.monotonic() + 0.5)
    assert times.keys() == set(PATHS)
    assert min(len(of) for of in times.values()) >= 1
    assert all(0 < seconds < 60 for of in times.values() for seconds in of)
