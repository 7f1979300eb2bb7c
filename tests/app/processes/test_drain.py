"""The service, in a thread and as a process, told to stop while it is at work."""

from __future__ import annotations

import http.client
import os
import select
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
import pytest
from uvicorn.config import STARTUP_FAILURE

from app import predictor
from app.main import create_app
from app.processes import drain
from app.processes.drain import LAST_LOOKS, LOOK_SECONDS, Config, DrainingServer
from app.settings import Settings
from tests.app.http.test_protocol import eventually
from tests.app.telemetry.test_metrics import hold, of, scrape_until, workers_of
from tests.app.test_main import START_SECONDS, service
from tests.conftest import encoded
from tests.fakes import FirstPixelClassifier, tagged_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from training.data import Data

DRAIN_SECONDS = 4
CALLERS = 12


class Caller:
    """Sends one picture after another until nobody listens any more, and records what was lost.

    Attributes:
        answered: Number of answers with status 200.
        lost: Why each request without such an answer failed.
        told: Number of answers that asked to close the connection.
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
        self._connection.close()

    def _call_on(self) -> None:
        while not self._stop.is_set():
            try:
                if self._connection.sock and select.select([self._connection.sock], [], [], 0)[0]:
                    self._connection.close()  # the server closed it while this thread was not running
                if self._connection.sock is None:
                    self._connection.connect()
            except OSError:  # nobody listens: refused, or reset before it was established
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


@contextmanager
def draining(classifier: FirstPixelClassifier, drain_seconds: float) -> Iterator[tuple[DrainingServer, str]]:
    """Serve in a thread, which receives no signals: a test calls the handlers instead."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        free.listen()  # a client that connects before the server listens waits
        config = Config(
            create_app(Settings(), classifier),
            drain_seconds=drain_seconds,
            log_config=None,
            timeout_graceful_shutdown=5,
        )
        server = DrainingServer(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [free]})
        thread.start()
        address = f"127.0.0.1:{free.getsockname()[1]}"
        try:
            assert ready(f"http://{address}") == HTTPStatus.OK
            yield server, address
        finally:
            server.handle_exit(signal.SIGINT, None)
            thread.join(START_SECONDS)
    assert not thread.is_alive()


@pytest.mark.usefixtures("quiet")
def test_a_draining_server_is_not_ready_but_answers_and_asks_to_close_each_connection() -> None:
    with (
        draining(FirstPixelClassifier(), 3600) as (server, address),
        closing(http.client.HTTPConnection(address)) as kept,
    ):
        for told, status in ((False, 200), (True, 503)):
            for path, expected in (("/health/ready", status), ("/health/live", 200)):
                kept.request("GET", path)
                response = kept.getresponse()
                response.read()
                assert (response.status, response.headers.get("connection") == "close") == (expected, told)
            if not told:
                server.handle_exit(signal.SIGTERM, None)
        assert not server.should_exit


@pytest.mark.usefixtures("quiet")
def test_a_retiring_worker_stays_ready_until_the_whole_service_stops() -> None:
    with draining(FirstPixelClassifier(), 3600) as (server, address):
        server.retire()
        answer = httpx2.get(f"http://{address}/health/ready")
        assert (answer.status_code, answer.headers["connection"]) == (HTTPStatus.OK, "close")
        server.handle_exit(signal.SIGTERM, None)
        assert ready(f"http://{address}") == HTTPStatus.SERVICE_UNAVAILABLE
        server.retire()
        assert ready(f"http://{address}") == HTTPStatus.SERVICE_UNAVAILABLE
        assert not server.should_exit


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere two cannot be bound to an address")
@pytest.mark.usefixtures("quiet")
def test_a_server_whose_address_was_taken_in_the_meantime_ends_as_a_failed_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as late, socket.socket() as other:
        for one in (late, other):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(late.getsockname() if one is other else ("127.0.0.1", 0))
        other.listen()
        config = Config(
            create_app(Settings(), FirstPixelClassifier()),
            host="127.0.0.1",
            port=late.getsockname()[1],
            drain_seconds=0,
            log_config=None,
        )
        with pytest.raises(SystemExit) as caught:
            DrainingServer(config).run(sockets=[late])
    assert caught.value.code == STARTUP_FAILURE
    assert f"cannot listen on 127.0.0.1:{config.port}: another program does by now" in caplog.messages


def test_a_worker_that_retires_before_it_serves_does_not_start_serving() -> None:
    server = DrainingServer(Config("no:app", drain_seconds=3600, log_config=None))
    server.retire()
    assert server.should_exit


@pytest.mark.usefixtures("quiet")
def test_while_a_thread_is_stuck_the_event_loop_leaves_no_mark_for_the_watchdog(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_go = threading.Event()
    monkeypatch.setattr(predictor, "STUCK_SECONDS", 0.1)
    classifier = FirstPixelClassifier(lambda _: hold(let_go))
    with draining(classifier, 0) as (server, address):

        def leaves_a_mark() -> bool:
            server.has_turned = False
            time.sleep(0.5)
            return server.has_turned

        try:
            eventually(lambda: server.has_turned)
            picture, hurry = encoded(tagged_image(9)), {"X-Request-Timeout": "0.2"}
            late = httpx2.post(f"http://{address}/predict", content=picture, headers=hurry)
            assert late.status_code == HTTPStatus.GATEWAY_TIMEOUT
            eventually(lambda: not leaves_a_mark())
            assert ready(f"http://{address}") == HTTPStatus.OK
        finally:
            let_go.set()
        eventually(lambda: server.has_turned)


@pytest.mark.usefixtures("quiet")
def test_the_server_ends_by_itself_after_the_drain_and_accepts_no_more_connections() -> None:
    with draining(FirstPixelClassifier(), 0.3) as (server, address):
        started = time.monotonic()
        server.handle_exit(signal.SIGTERM, None)
        while time.monotonic() - started < START_SECONDS:
            try:
                httpx2.get(f"http://{address}/health/live", timeout=START_SECONDS)
            except httpx2.TransportError:
                break
        assert 0.3 <= time.monotonic() - started < START_SECONDS


@pytest.mark.usefixtures("quiet")
def test_the_same_signal_twice_at_once_counts_once_and_a_later_one_ends_the_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with draining(FirstPixelClassifier(), 3600) as (server, _):
        server.handle_exit(signal.SIGTERM, None)
        server.handle_exit(signal.SIGTERM, None)  # as from systemd, which signals the workers as well
        assert not server.should_exit
        monkeypatch.setattr(drain, "SAME_SIGNAL_SECONDS", 0)
        server.handle_exit(signal.SIGTERM, None)
        assert server.should_exit


@pytest.mark.usefixtures("quiet")
def test_an_interrupt_that_arrives_twice_does_not_drop_requests() -> None:
    with draining(FirstPixelClassifier(), 0) as (server, _):
        server.handle_exit(signal.SIGINT, None)
        server.handle_exit(signal.SIGINT, None)
        assert server.should_exit
        assert not server.force_exit


@pytest.mark.usefixtures("quiet")
def test_requests_on_old_new_and_queued_connections_are_answered_when_the_server_stops() -> None:
    entered, release = threading.Event(), threading.Event()

    def hold(_: NDArray[np.uint8]) -> None:
        entered.set()
        release.wait(START_SECONDS)

    picture = encoded(tagged_image(7))
    # The forward pass blocks the loop, so that nothing is read or accepted before the server stops.
    with draining(FirstPixelClassifier(hold, lambda _: 0.0), 0) as (server, address), ExitStack() as stack:
        connections = [http.client.HTTPConnection(address, timeout=START_SECONDS) for _ in range(4)]
        for connection in connections:
            stack.callback(connection.close)
        busy, kept, _, silent = connections
        kept.request("GET", "/health/live")
        kept.getresponse().read()
        silent.connect()
        busy.request("POST", "/predict", picture)
        assert entered.wait(START_SECONDS)
        for connection in connections[1:3]:  # one was open before, the other waits to be accepted
            connection.request("POST", "/predict", picture)
        server.handle_exit(signal.SIGTERM, None)
        release.set()
        time.sleep(LAST_LOOKS * LOOK_SECONDS / 4)
        silent.request("POST", "/predict", picture)  # open before, but silent until now
        answers = [connection.getresponse() for connection in connections]
        assert [answer.status for answer in answers] == [HTTPStatus.OK] * 4


@pytest.mark.parametrize(("workers", "drain_seconds"), [(1, 0), (2, DRAIN_SECONDS)])
def test_under_load_no_accepted_request_is_lost_when_the_service_stops(
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
        eventually(lambda: all(caller.answered for caller in callers))
        for pid in workers_of(process) if workers > 1 else ():  # as a shell or a service manager may do
            os.kill(pid, signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        signalled = time.monotonic()
        if drain_seconds:
            refused = 0
            while refused < 20:  # in a row, so whichever worker is asked
                refused = refused + 1 if ready(url) == HTTPStatus.SERVICE_UNAVAILABLE else 0
                assert time.monotonic() - signalled < drain_seconds
            before = sum(caller.answered for caller in callers)
            while sum(caller.answered for caller in callers) == before:  # the machine may be busy
                assert time.monotonic() - signalled < drain_seconds
                time.sleep(0.01)
        assert process.wait(START_SECONDS) == 0
        assert time.monotonic() - signalled >= drain_seconds
        for caller in callers:
            caller.stop()
    assert [caller.lost for caller in callers] == [[]] * CALLERS
    assert min(caller.answered for caller in callers) > 0
    assert sum(caller.told for caller in callers) > 0


def test_under_load_no_request_is_lost_while_the_hangup_of_a_terminal_replaces_both_workers(
    artifact: Path, data: Data
) -> None:
    picture = encoded(data.test.images[0])
    statuses: set[int] = set()
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            statuses.add(ready(url))

    with service(MODEL_DIR=artifact, WORKERS=2, DRAIN_SECONDS=1, LOG_LEVEL="warning") as (process, url):
        scrape_until(url, lambda found: of(found, "fashion_workers") == 2)
        looks = threading.Thread(target=look)
        looks.start()
        callers = [Caller(urlsplit(url).netloc, picture, keeps_connection=keeps) for keeps in (True, False)]
        for caller in callers:
            caller.start()
        for pid in workers_of(process):  # a terminal signals all processes; the workers have to ignore it
            os.kill(pid, signal.SIGHUP)
        process.send_signal(signal.SIGHUP)
        scrape_until(
            url, lambda found: (of(found, "fashion_worker_starts_total"), of(found, "fashion_workers")) == (4, 2)
        )
        before = [caller.answered for caller in callers]
        eventually(lambda: all(caller.answered > count for caller, count in zip(callers, before, strict=True)))
        for caller in callers:
            caller.stop()
        done.set()
        looks.join(START_SECONDS)
    assert [caller.lost for caller in callers] == [[]] * len(callers)
    assert statuses == {HTTPStatus.OK}


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
