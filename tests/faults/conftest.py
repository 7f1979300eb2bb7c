"""Runs the real service with the shipped model in processes that tests may break."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from benchmarks.serving.servers import running
from benchmarks.serving.systems import OURS, ROOT
from tests.conftest import encoded

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Sequence

    from training.data import Data

ARTIFACT = ROOT / "models" / "fashion-mnist" / "1"
START_SECONDS = 180  # the machine may be busy

ESTABLISHED, LISTEN = "01", "0A"
"""Connection states in /proc/net/tcp."""


@dataclass(frozen=True)
class Service:
    """A running service.

    Attributes:
        process: Its first process.
        port: The local port that it listens on.
        log: Its log file.
        start_seconds: How long it took to become ready.
    """

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    start_seconds: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def workers(self) -> set[int]:
        """IDs of the processes that accept new connections."""
        return listeners(self.port)

    def worker_of(self, client_port: int) -> int:
        """Return the ID of the process that holds the service's end of a client's connection."""
        (inode,) = sockets(self.port, ESTABLISHED, client_port)
        return next(process for process, file in open_files() if file == f"socket:[{inode}]")

    def predict(self, picture: bytes) -> dict[str, object]:
        """Send a picture over a new connection, so that any worker may answer."""
        answer: dict[str, object] = (
            httpx2.post(f"{self.url}/predict", content=picture, timeout=60).raise_for_status().json()
        )
        return answer


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def service(folder: Path, world: Sequence[str] = (), **settings: object) -> Iterator[Service]:
    """Run `python -m app`, and yield it once it is ready.

    Args:
        folder: Where it writes its log.
        world: A command that runs another command in an environment where something is broken.
        **settings: The service's settings, named without the prefix `FASHION_`.
    """
    port = free_port()
    given = {f"FASHION_{name}": str(value) for name, value in settings.items()}
    environment = {**OURS.environment(ARTIFACT, port), **given}
    log = folder / "log"
    started = time.monotonic()
    with running([*world, *OURS.command(port)], environment, ROOT, port, log) as process:
        wait_until(lambda: is_ready(process, port, log), "the service is ready")
        wait_until(lambda: len(listeners(port)) == int(environment["FASHION_WORKERS"]), "all workers are ready")
        yield Service(process, port, log, time.monotonic() - started)


def is_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health/ready", timeout=60).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


def wait_until(holds: Callable[[], bool], what: str) -> float:
    """Wait until a condition holds, and return how many seconds that took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() < started + START_SECONDS, f"waited in vain until {what}"
        time.sleep(0.1)
    return time.monotonic() - started


def listeners(port: int) -> set[int]:
    """Return the IDs of the processes that accept connections to a port."""
    listening = {f"socket:[{inode}]" for inode in sockets(port, LISTEN)}
    return {process for process, file in open_files() if file in listening}


def sockets(port: int, state: str, client_port: int = 0) -> list[str]:
    """Return the inodes of a port's sockets in a state; the default client port matches sockets without a peer."""
    ends = f":{port:04X}", f":{client_port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [line[9] for line in lines if (line[1][8:], line[2][8:], line[3]) == (*ends, state)]


def open_files() -> Iterator[tuple[int, str]]:
    """Yield each open file of this machine's processes as a process ID and the file's target."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            yield int(link.parts[2]), str(link.readlink())
        except OSError:  # closed meanwhile
            continue


@pytest.fixture
def picture(data: Data) -> bytes:
    return encoded(data.test.images[0])


@pytest.fixture(scope="session")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service with two workers; each test must leave it with two."""
    with service(tmp_path_factory.mktemp("service")) as started:
        yield started
