"""Fixtures and helpers shared by the tests of the serving benchmark."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.serving.load import Outcome
from benchmarks.serving.results import CONNECTIONS, Comparison, Results
from benchmarks.serving.servers import running
from benchmarks.serving.systems import SERVERS, System, raw

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

TINY_SERVER = Path(__file__).with_name("tiny_server.py")
PROBABILITY = 0.1
TINY = System("tiny", "/", "image/png", raw)


@pytest.fixture
def tiny_server(port: int, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the tiny server, and yield its process once it listens."""
    command = [sys.executable, str(TINY_SERVER), str(port), str(PROBABILITY)]
    with running(command, {}, tmp_path, port, tmp_path / "log") as process:
        wait_until(process, lambda: can_connect(port))
        yield process


def can_connect(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(process: subprocess.Popen[bytes], holds: Callable[[], bool]) -> None:
    """Wait until a condition holds while a server runs."""
    deadline = time.monotonic() + 60
    while not holds():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def outcome(rate: float = 100, p50: float = 10, p99: float = 20, errors: int = 0) -> Outcome:
    return Outcome(rate, p50, p99, errors, load_cores=0.25)


@pytest.fixture
def results() -> Results:
    """Return the results of two rounds in which all systems are equally fast."""
    made = Results(conditions={"Date": "2026-11-24"}, versions={"mosec": "1.2.3"})
    for server in SERVERS:
        made.memory_bytes[server.name] = [2**30, 2**30]
        for system in server.systems:
            for connections in CONNECTIONS:
                made.loads.setdefault(system.name, {})[connections] = [outcome(rate=90), outcome(rate=110)]
    made.shipped = Comparison([80.0, 80.0], [100.0, 100.0])
    made.photographs = Comparison([60.0, 60.0], [100.0, 100.0])
    made.mixed = {"small requests, beside nothing else": [outcome(), outcome()]}
    made.sizes = {784: Comparison([100.0], [200.0]), 160_000: Comparison([50.0], [60.0])}
    return made
