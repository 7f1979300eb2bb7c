"""Fixtures and helpers shared by the tests of the serving benchmark."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.serving.load import Outcome
from benchmarks.serving.results import CONNECTIONS, Comparison, Results
from benchmarks.serving.servers import running, wait_until_ready
from benchmarks.serving.systems import SERVERS, System, raw

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

TINY_SERVER = Path(__file__).with_name("tiny_server.py")
PROBABILITY = 0.1
TINY = System("tiny", "/", "image/png", raw)


@pytest.fixture
def port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def tiny_server(port: int, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the tiny server, and yield its process once it listens and is idle."""
    log = tmp_path / "log"

    def ask() -> None:
        socket.create_connection(("127.0.0.1", port)).close()

    command = [sys.executable, str(TINY_SERVER), str(port), str(PROBABILITY)]
    with running(command, {}, tmp_path, port, log) as process:
        wait_until_ready(process, ask, log)
        yield process


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
