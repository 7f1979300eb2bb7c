"""The service as a process that is told to stop while it is at work."""

from __future__ import annotations

import http.client
import signal
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.app.test_main import START_SECONDS, service
from tests.conftest import encoded

if TYPE_CHECKING:
    from pathlib import Path

    from training.data import Data

DRAIN_SECONDS = 2
CALLERS = 12


class Caller:
    """Sends one picture after the other until nobody listens any more, and counts what was lost.

    Attributes:
        answered: Right answers.
        lost: Of every request that got none: why.
        told: How many answers asked to close the connection.
    """

    def __init__(self, address: str, picture: bytes, *, keeps_connection: bool) -> None:
        self.answered = self.told = 0
        self.lost: list[str] = []
        self._connection = http.client.HTTPConnection(address, timeout=START_SECONDS)
        self._picture = picture
        self._keeps_connection = keeps_connection
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._call_on, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(START_SECONDS)

    def _call_on(self) -> None:
        while not self._stop.is_set():
            try:
                if self._connection.sock is None:
                    self._connection.connect()
            except OSError:  # nobody listens: refused, or reset before the connection was there
                return
            try:
                self._call()
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.lost.append(repr(error))
                self._connection.close()

    def _call(self) -> None:
        self._connection.request("POST", "/predict", self._picture)
        response = self._connection.getresponse()
        body = response.read()
        assert response.status == HTTPStatus.OK, body
        self.answered += 1
        self.told += response.headers.get("connection") == "close"
        if not self._keeps_connection:
            self._connection.close()


def ready(url: str) -> int:
    return httpx2.get(f"{url}/health/ready", timeout=START_SECONDS).status_code


@pytest.mark.parametrize(("workers", "drain_seconds"), [(1, 0), (2, DRAIN_SECONDS)])
def test_under_load_no_accepted_request_is_lost_when_it_stops(
    artifact: Path, data: Data, workers: int, drain_seconds: float
) -> None:
    picture = encoded(data.test.images[0])
    with service(MODEL_DIR=artifact, WORKERS=workers, DRAIN_SECONDS=drain_seconds, LOG_LEVEL="warning") as (
        process,
        url,
    ):
        callers = [Caller(urlsplit(url).netloc, picture, keeps_connection=turn % 2 == 0) for turn in range(CALLERS)]
        for caller in callers:
            caller.start()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        signalled = time.monotonic()
        if drain_seconds:
            time.sleep(0.75)  # uvicorn's supervisor looks twice a second
            assert ready(url) == HTTPStatus.SERVICE_UNAVAILABLE
            before = sum(caller.answered for caller in callers)
            time.sleep(0.25)
            assert sum(caller.answered for caller in callers) > before
        assert process.wait(START_SECONDS) == 0
        assert time.monotonic() - signalled >= drain_seconds
        for caller in callers:
            caller.stop()
    assert [caller.lost for caller in callers] == [[]] * CALLERS
    assert min(caller.answered for caller in callers) > 0
    assert sum(caller.told for caller in callers) > 0


def test_an_interrupt_stops_all_workers_at_once_even_in_a_drain(artifact: Path) -> None:
    with service(MODEL_DIR=artifact, WORKERS=2, DRAIN_SECONDS=3600) as (process, url):
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + START_SECONDS
        while ready(url) == HTTPStatus.OK:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            process.kill()
