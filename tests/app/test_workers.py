"""Two workers, of which one is killed while both are at work."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from collections import defaultdict
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.app.test_main import START_SECONDS, service
from tests.conftest import encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from training.data import Data

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="finds out whose a connection is in /proc")

ESTABLISHED = "01"
"""A connection's state in /proc/net/tcp."""


class Caller:
    """Sends one picture after the other on one connection until told to stop; opens another when it breaks."""

    def __init__(self, address: str, picture: bytes) -> None:
        self._picture = picture
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._call_on, daemon=True)
        self.connection = http.client.HTTPConnection(address, timeout=START_SECONDS)
        self.connection.connect()
        self.answered = self.failed = 0

    @property
    def port(self) -> int:
        return int(self.connection.sock.getsockname()[1])

    def call(self) -> None:
        self.connection.request("POST", "/predict", self._picture)
        response = self.connection.getresponse()
        assert len(response.read()) > 500
        assert response.status == HTTPStatus.OK

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self.connection.close()

    def _call_on(self) -> None:
        while not self._stop.wait(0.02):
            try:
                self.call()
                self.answered += 1
            except (OSError, http.client.HTTPException):
                self.failed += 1
                self.connection.close()


def worker_of(client_port: int, service_port: int) -> int:
    """Return the process that holds the service's end of a connection."""
    ends = f":{service_port:04X}", f":{client_port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (inode,) = (line[9] for line in lines if (line[1][8:], line[2][8:], line[3]) == (*ends, ESTABLISHED))
    return next(pid for pid, file in _open_files() if file == f"socket:[{inode}]")


def _open_files() -> Iterator[tuple[int, str]]:
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            yield int(link.parts[2]), str(link.readlink())
        except OSError:  # closed meanwhile
            continue


def connect(url: str, picture: bytes) -> tuple[Caller, int]:
    """Connect once, and say to which worker."""
    caller = Caller(urlsplit(url).netloc, picture)
    caller.call()
    return caller, worker_of(caller.port, int(url.rpartition(":")[2]))


def connect_until(done: Callable[[], bool], url: str, picture: bytes) -> Iterator[tuple[Caller, int]]:
    """Connect again and again, in the hope that every worker gets a turn."""
    deadline = time.monotonic() + START_SECONDS
    while not done():
        assert time.monotonic() < deadline, "one worker gets all connections"
        connected: list[tuple[Caller, int]] = []
        with suppress(OSError, http.client.HTTPException):  # fell into the hands of the worker that was killed
            connected.append(connect(url, picture))
        yield from connected
        time.sleep(0.1)


def test_a_worker_that_is_killed_takes_only_its_own_requests_along_and_is_replaced(data: Data) -> None:
    picture = encoded(data.test.images[0])
    with service(WORKERS=2, LOG_LEVEL="warning") as (_, url):
        callers: defaultdict[int, list[Caller]] = defaultdict(list)
        for caller, worker in connect_until(lambda: [len(some) for some in callers.values()] == [2, 2], url, picture):
            if len(callers[worker]) < 2:
                callers[worker].append(caller)
            else:
                caller.connection.close()
        victim, survivor = callers
        for caller in callers[victim] + callers[survivor]:
            caller.start()
        time.sleep(0.5)
        before = sum(caller.answered for caller in callers[survivor])
        os.kill(victim, signal.SIGKILL)
        seen = set(callers)
        for caller, worker in connect_until(lambda: len(seen) == 3, url, picture):
            caller.connection.close()
            seen.add(worker)
        for caller in callers[victim] + callers[survivor]:
            caller.stop()
        assert [caller.failed for caller in callers[survivor]] == [0, 0]
        assert [caller.failed for caller in callers[victim]] == [1, 1]
        assert sum(caller.answered for caller in callers[survivor]) > before > 0
        assert all(caller.answered for caller in callers[victim])
