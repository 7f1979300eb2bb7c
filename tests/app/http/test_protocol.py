"""The service behind its own HTTP protocol, with sockets that do what no well-meaning client does."""

from __future__ import annotations

import gc
import json
import re
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, cast
from weakref import WeakSet

import pytest
import uvicorn

from app.errors import OverloadedError
from app.http.patience import UNWATCHED_SECONDS
from app.http.protocol import Protocol
from app.http.uploads import PIECE_BYTES, BodyBudget, Held
from app.main import create_app
from app.settings import FRAMING_BYTES, Settings, read_settings
from app.telemetry.logs import configure_logging
from tests.conftest import encoded
from tests.fakes import FirstPixelClassifier, HeldClassifier, tagged_image

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from fastapi import FastAPI

BOOT = encoded(tagged_image(9))
PICTURE = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(BOOT) + BOOT
PDF = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n%PDF"
CLASSES = b"GET /classes HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n"
SLOW_SECONDS = 1
SOON_SECONDS = 20  # the machine may be busy


class Impatient(Protocol):
    header_seconds = SLOW_SECONDS
    linger_seconds = SLOW_SECONDS


class Service:
    """A server on a free port, and the app that it serves."""

    def __init__(self, app: FastAPI, server: uvicorn.Server, address: tuple[str, int]) -> None:
        self.app, self.server, self.address = app, server, address

    @property
    def held_bytes(self) -> int:
        return int(self.app.state.body_budget.held_bytes)

    def connect(self, *sent: bytes) -> socket.socket:
        connection = socket.create_connection(self.address, SOON_SECONDS)
        for piece in sent:
            connection.sendall(piece)
        return connection

    def answer(self, *sent: bytes) -> tuple[int, str]:
        """Send, read until the server closes, and return the last status with its code or label."""
        with self.connect(*sent) as connection:
            return last(read_all(connection))


def read_all(connection: socket.socket) -> bytes:
    received = bytearray()
    with suppress(ConnectionResetError):  # the server closed with something unread
        while piece := connection.recv(65536):
            received += piece
    return bytes(received)


def last(received: bytes) -> tuple[int, str]:
    status = [int(one) for one in re.findall(rb"HTTP/1.1 (\d{3}) ", received)]
    head, _, body = received[received.rfind(b"HTTP/1.1") :].partition(b"\r\n\r\n")
    if not status:
        return 0, "nothing"
    answer = json.loads(body)
    assert f"content-length: {len(body)}".encode() in head
    if status[-1] == 200:
        return 200, answer["prediction"]["label"]
    assert b"content-type: application/problem+json" in head
    return status[-1], answer["code"]


@contextmanager
def serving(
    protocol: type[Protocol] = Protocol,
    classifier: FirstPixelClassifier | None = None,
    keep_alive_seconds: int = 60,
    **settings: object,
) -> Iterator[Service]:
    app = create_app(Settings.model_validate(settings), classifier or FirstPixelClassifier())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        free.listen(128)
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            log_config=None,
            access_log=False,
            reset_contextvars=True,
            timeout_keep_alive=keep_alive_seconds,
            timeout_graceful_shutdown=SOON_SECONDS,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [free]})
        thread.start()
        try:
            yield Service(app, server, free.getsockname())
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving() as service:
        yield service


@pytest.fixture(scope="module")
def impatient() -> Iterator[Service]:
    """Yield a service that soon cuts off whoever sends slowly."""
    with serving(Impatient, receive_seconds=SLOW_SECONDS) as service:
        yield service


def closing(request: bytes) -> bytes:
    return request.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n")


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- answers ------------------------------------------------------------------------------------------------------


class CountedWrites:
    """A transport that keeps the pieces that are written to it."""

    pieces: ClassVar[list[bytes]] = []

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever a transport has
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self.pieces.append(data)
        self._transport.write(data)


class Counted(Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(cast("asyncio.Transport", CountedWrites(transport)))


@pytest.mark.parametrize(
    ("sent", "pieces"),
    [
        (PICTURE, 1),
        (CLASSES, 1),
        (PDF, 1),
        (CLASSES.replace(b"GET", b"HEAD"), 1),
        (PICTURE.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue"), 2),
    ],
    ids=["prediction", "get", "refusal", "head", "continue"],
)
def test_head_and_body_of_an_answer_are_sent_in_one_piece(sent: bytes, pieces: int) -> None:
    CountedWrites.pieces.clear()
    with serving(Counted) as service, service.connect(closing(sent)) as connection:
        assert read_all(connection) == b"".join(CountedWrites.pieces)
    assert len(CountedWrites.pieces) == pieces


def test_a_long_answer_is_complete(service: Service) -> None:
    with service.connect(closing(LARGE)) as connection:
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert len(body) > 2**20


@pytest.mark.parametrize("sent", [PICTURE, CLASSES, PDF])
def test_a_request_leaves_nothing_to_the_garbage_collector(service: Service, sent: bytes) -> None:
    with service.connect() as connection:
        connection.sendall(sent)
        connection.recv(65536)
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                connection.sendall(sent)
                connection.recv(65536)
            assert gc.collect() < 50
        finally:
            gc.enable()


def remembered() -> tuple[type[Protocol], WeakSet[Protocol]]:
    """Return a protocol, and those of its connections that are in memory."""
    kept: WeakSet[Protocol] = WeakSet()

    class Remembered(Protocol):
        def __init__(self, **options: Any) -> None:  # noqa: ANN401  uvicorn's
            super().__init__(**options)
            kept.add(self)

    return Remembered, kept


@pytest.mark.parametrize("sent", [PICTURE, PDF, PDF.replace(b"/predict", b"/nowhere")])
def test_a_connection_leaves_nothing_to_the_garbage_collector(sent: bytes) -> None:
    protocol, kept = remembered()
    with serving(protocol) as service:
        gc.disable()
        try:
            for _ in range(50):
                service.answer(closing(sent))
            eventually(lambda: not kept)
        finally:
            gc.enable()


# --- slow senders -------------------------------------------------------------------------------------------------


class TimedLoop:
    """An event loop that keeps the timers whose callback has a given name."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: str, timers: list[asyncio.TimerHandle]) -> None:
        self._loop, self._callback, self._timers = loop, callback, timers

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        timer = self._loop.call_later(delay, callback)
        if callback.__name__ == self._callback:
            self._timers.append(timer)
        return timer

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  everything else is the loop's
        return getattr(self._loop, name)


def timed(callback: str) -> tuple[type[Protocol], list[asyncio.TimerHandle]]:
    """Return a protocol, and the timers that its connections start for a callback."""
    timers: list[asyncio.TimerHandle] = []

    class Timed(Protocol):
        def __init__(self, **options: Any) -> None:  # noqa: ANN401  uvicorn's
            super().__init__(**options)
            self.loop = cast("asyncio.AbstractEventLoop", TimedLoop(self.loop, callback, timers))

    return Timed, timers


def test_a_request_in_one_piece_starts_no_timer_and_one_in_two_pieces_starts_one() -> None:
    protocol, made = timed("_too_slow")
    with serving(protocol) as service, service.connect() as connection:
        for _ in range(3):
            connection.sendall(PICTURE)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert len(made) == 1  # for the first header of the connection
        connection.sendall(PICTURE[:-9])
        eventually(lambda: len(made) == 2)
        connection.sendall(PICTURE[-9:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert len(made) == 2


def test_a_request_in_small_pieces_that_arrive_in_time_is_answered(service: Service) -> None:
    request = closing(PICTURE)
    crumbs = [request[place : place + 20] for place in range(0, len(request), 20)]
    assert service.answer(*crumbs) == (200, "Ankle boot")


@pytest.mark.parametrize("sent", [PICTURE[:1], PICTURE[:30], b"\r\n" * 10, PICTURE[: -len(BOOT) - 2]])
def test_a_header_that_does_not_end_in_time_is_408(impatient: Service, sent: bytes) -> None:
    started = time.monotonic()
    assert impatient.answer(sent) == (408, "too_slow")
    assert time.monotonic() - started >= SLOW_SECONDS * 0.9


def test_a_header_that_arrives_byte_by_byte_is_cut_off_too(impatient: Service) -> None:
    with impatient.connect(b"GET / HTTP/1.1\r\nX: ") as connection:
        started = time.monotonic()
        with suppress(OSError):  # closed, then reset
            while time.monotonic() - started < SOON_SECONDS:
                connection.sendall(b"X")
                time.sleep(SLOW_SECONDS / 10)
        assert SLOW_SECONDS * 0.9 <= time.monotonic() - started < SOON_SECONDS


def test_a_connection_opened_in_advance_is_closed_without_an_answer(impatient: Service) -> None:
    assert impatient.answer() == (0, "nothing")


@pytest.mark.parametrize("share", [0, 1, len(BOOT) - 1])
def test_a_body_that_does_not_end_in_time_is_413_and_holds_nothing(impatient: Service, share: int) -> None:
    assert impatient.answer(PICTURE[: len(PICTURE) - len(BOOT) + share]) == (413, "body_too_slow")
    eventually(lambda: impatient.held_bytes == 0)


def test_a_body_is_not_given_the_time_of_a_header() -> None:
    patient = type("Patient", (Protocol,), {"header_seconds": 3 * SOON_SECONDS})
    with serving(patient, receive_seconds=SLOW_SECONDS) as service:
        assert service.answer(PICTURE[:-1]) == (413, "body_too_slow")


def test_a_header_is_not_given_the_time_of_a_body_which_may_take_longer() -> None:
    with serving(Impatient, receive_seconds=3 * SOON_SECONDS) as service:
        assert service.answer(PICTURE[:40]) == (408, "too_slow")
        with service.connect(closing(PICTURE)[:-1]) as connection:
            time.sleep(2 * SLOW_SECONDS)
            connection.sendall(BOOT[-1:])
            assert last(read_all(connection)) == (200, "Ankle boot")


def test_a_chunked_body_that_never_ends_is_413(impatient: Service) -> None:
    assert impatient.answer(CHUNKED, b"4\r\nabcd\r\n") == (413, "body_too_slow")


def test_a_second_request_on_a_connection_has_its_own_time(impatient: Service) -> None:
    with impatient.connect(PICTURE) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        time.sleep(2 * SLOW_SECONDS)  # idle, which has a limit of its own
        connection.sendall(PICTURE)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(PICTURE[:40])
        assert last(read_all(connection)) == (408, "too_slow")


def test_a_refused_client_whose_body_never_arrives_is_cut_off_too(impatient: Service) -> None:
    with impatient.connect(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n") as connection:
        assert last(connection.recv(65536)) == (413, "payload_too_large")
        assert read_all(connection) == b""


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (b"POST /predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST /predict HTTP/1.0\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4000000\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ],
)
def test_a_client_that_sends_everything_before_it_reads_gets_the_refusal_of_a_closing_connection(
    service: Service, head: bytes, answer: int
) -> None:
    with service.connect(head) as connection:
        assert connection.recv(1, socket.MSG_PEEK) == b"H"  # it is refused before the body arrives
        for _ in range(20):
            connection.sendall(b"x" * 200_000)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
        assert last(received)[0] == answer
        assert connection.recv(1) == b""


def test_a_client_that_keeps_sending_after_the_last_answer_is_cut_off(impatient: Service) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 99999999\r\n\r\n"
    started = time.monotonic()
    with impatient.connect(head) as connection:
        assert last(read_all(connection)) == (413, "payload_too_large")
        with suppress(ConnectionError):
            while time.monotonic() - started < SOON_SECONDS:
                connection.sendall(b"x" * 1000)
                time.sleep(SLOW_SECONDS / 10)
        assert SLOW_SECONDS <= time.monotonic() - started < SOON_SECONDS
    eventually(lambda: not impatient.server.server_state.connections)


def test_slow_senders_delay_nobody() -> None:
    with serving(receive_seconds=3600) as service:
        slow = [service.connect(PICTURE[:-1]) for _ in range(20)]
        eventually(lambda: service.held_bytes > 20 * len(BOOT) / 2)
        assert service.answer(closing(PICTURE)) == (200, "Ankle boot")
        for connection in slow:
            connection.close()


def test_a_connection_whose_body_came_after_the_refusal_is_closed_once_it_is_idle() -> None:
    head = PICTURE[: -len(BOOT)].replace(b"/predict", b"/nowhere")
    with serving(keep_alive_seconds=1) as service, service.connect(head) as connection:
        assert last(connection.recv(65536)) == (404, "not_found")
        started = time.monotonic()
        connection.sendall(BOOT)
        assert read_all(connection) == b""
        assert 0.9 <= time.monotonic() - started < SOON_SECONDS


# --- clients that do not read -------------------------------------------------------------------------------------


def test_a_client_that_leaves_answers_unread_is_cut_off() -> None:
    with serving(Unsendable) as service, service.connect(LARGE) as connection:
        assert connection.recv(1, socket.MSG_PEEK) == b"H"
        eventually(lambda: not service.server.server_state.connections)
        eventually(lambda: not service.server.server_state.tasks)


class SmallBuffer(Protocol):
    """Has the system buffer next to nothing that is not read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        super().connection_made(transport)


class Unsendable(SmallBuffer):
    """As if part of an answer, too small to pause writing, could never be sent."""

    unread_seconds = SLOW_SECONDS


def test_an_answer_that_nobody_reads_does_not_keep_an_idle_connection_open() -> None:
    with serving(Unsendable, keep_alive_seconds=1) as service, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.connect(service.address)
        client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(1, socket.MSG_PEEK) == b"H"
        eventually(lambda: not service.server.server_state.connections)


@pytest.mark.parametrize(
    "request_",
    ["GET /openapi.json HTTP/1.0\r\n\r\n", "GET /openapi.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"],
)
def test_an_answer_that_nobody_reads_does_not_keep_a_closing_connection_open(request_: str) -> None:
    with serving(Unsendable, keep_alive_seconds=3600) as service, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.connect(service.address)
        client.sendall(request_.encode())
        assert client.recv(1, socket.MSG_PEEK) == b"H"
        eventually(lambda: not service.server.server_state.connections)


def test_nothing_remains_of_an_idle_connection_after_a_reset() -> None:
    with serving(keep_alive_seconds=3600) as service:
        with service.connect(CLASSES) as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            (protocol,) = service.server.server_state.connections
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        eventually(lambda: not service.server.server_state.connections)
        assert cast("Protocol", protocol).timeout_keep_alive_task is None


def test_a_client_that_reads_on_in_time_is_not_cut_off_and_gets_everything() -> None:
    protocol, timers = timed("abort")
    slow = type("Slow", (SmallBuffer, protocol), {})
    with serving(slow) as service, service.connect(closing(LARGE)) as connection:
        eventually(lambda: bool(timers))
        received = connection.makefile("rb")
        some = received.read(2**19)
        eventually(timers[0].cancelled)
        assert len(some + received.read()) > 1_000_000


def test_a_client_that_leaves_after_a_second_request_is_counted_as_gone_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    classifier = HeldClassifier()
    with serving(classifier=classifier) as service:
        with service.connect(PICTURE + PICTURE):
            assert classifier.entered.wait(SOON_SECONDS)
        eventually(lambda: not service.server.server_state.connections)
        time.sleep(2 * UNWATCHED_SECONDS)
        classifier.release.set()
        eventually(lambda: not service.server.server_state.tasks)
        counted = service.app.state.metrics.exposition().decode()
    assert 'http_requests_total{code="none",handler="/predict",method="POST"} 1.0' in counted
    assert 'handler="/predict",method="POST"} 2.0' not in counted
    assert "Traceback" not in "".join(capsys.readouterr())


def test_a_client_that_leaves_just_before_the_answer_is_counted_as_gone_too() -> None:
    classifier = HeldClassifier()
    with serving(classifier=classifier) as service:
        with service.connect(PICTURE):
            assert classifier.entered.wait(SOON_SECONDS)
        eventually(lambda: not service.server.server_state.connections)
        classifier.release.set()
        eventually(lambda: not service.server.server_state.tasks)
        counted = service.app.state.metrics.exposition().decode()
    assert 'http_requests_total{code="none",handler="/predict",method="POST"} 1.0' in counted
    assert 'code="200",handler="/predict"' not in counted


def test_a_client_that_leaves_before_its_answer_leaves_nothing_to_the_garbage_collector() -> None:
    classifier = HeldClassifier()
    protocol, kept = remembered()
    with serving(protocol, classifier) as service:
        gc.disable()
        try:
            with service.connect(PICTURE * 2):
                assert classifier.entered.wait(SOON_SECONDS)
            eventually(lambda: not service.server.server_state.connections)
            classifier.release.set()
            eventually(lambda: not kept)
        finally:
            gc.enable()


def test_little_is_read_of_a_body_while_its_client_is_held_back_after_a_refusal() -> None:
    classifier, most = HeldClassifier(), 0
    large = b"POST /predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5000000\r\n\r\n" + bytes(
        5_000_000
    )
    with serving(classifier=classifier, max_pending_images=1) as service, service.connect(PICTURE):
        assert classifier.entered.wait(SOON_SECONDS)
        with service.connect(PICTURE) as connection:
            assert last(connection.recv(65536)) == (503, "overloaded")
            protocol = next(
                cast("Protocol", one)
                for one in service.server.server_state.connections
                if cast("Protocol", one).cycle.response_complete
            )
            sending = threading.Thread(target=connection.sendall, args=(large,))
            sending.start()
            eventually(lambda: bool(protocol.cycle.body))
            while not protocol.cycle.response_started:
                most = max(most, len(protocol.cycle.body))
                time.sleep(0.01)
            assert last(read_all(connection)) == (503, "overloaded")
            sending.join()
        classifier.release.set()
    assert 0 < most < 2**19  # 64 KiB and one read of the socket, which is 256 KiB


def test_announced_bytes_take_no_room_from_others() -> None:
    announced = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n."
    with serving(max_pending_bytes=100_000) as service:
        announcers = [service.connect(announced) for _ in range(5)]
        eventually(lambda: service.held_bytes == 5 * (1 + PIECE_BYTES))
        assert service.answer(closing(PICTURE)) == (200, "Ankle boot")
        for connection in announcers:
            connection.close()


def test_a_body_that_was_refused_unread_is_not_kept_with_its_connection() -> None:
    refused = b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000)
    with serving() as service, service.connect(refused) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 404")
        (protocol,) = service.server.server_state.connections
        eventually(lambda: not cast("Protocol", protocol).cycle.body)


def test_a_header_that_begins_before_an_earlier_answer_is_not_called_slow() -> None:
    classifier, begun = HeldClassifier(), 5
    second = closing(PICTURE)
    is_late = threading.Event()

    class Slow(Protocol):
        def _start_timer(self) -> None:
            seconds = SOON_SECONDS if self.cycle is None or is_late.is_set() else 0
            self._timer = self.loop.call_later(seconds, self._too_slow)

        def _too_slow(self) -> None:
            is_late.set()
            super()._too_slow()

    with serving(Slow, classifier) as service, service.connect(PICTURE + second[:begun]) as connection:
        assert is_late.wait(SOON_SECONDS)
        classifier.release.set()
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(second[begun:])
        assert last(read_all(connection)) == (200, "Ankle boot")


# --- what HTTP requires -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [b"/", b"/classes", b"/health/ready", b"/health/live", b"/metrics"])
def test_head_is_get_without_the_body(service: Service, path: bytes) -> None:
    def ask(method: bytes) -> tuple[bytes, bytes]:
        with service.connect(b"%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % (method, path)) as connection:
            head, _, body = read_all(connection).partition(b"\r\n\r\n")
            return head, body

    (head, nothing), (whole, body) = ask(b"HEAD"), ask(b"GET")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (nothing, bool(body)) == (b"", True)
    assert {line.partition(b":")[0] for line in head.splitlines()} == {
        line.partition(b":")[0] for line in whole.splitlines()
    }


def test_a_request_after_the_head_of_a_file_is_answered(service: Service) -> None:
    for _ in range(10):
        with service.connect(b"HEAD /web/answer.js HTTP/1.1\r\nHost: a\r\n\r\n") as connection:
            assert connection.recv(65536).endswith(b"\r\n\r\n")
            connection.sendall(closing(CLASSES))
            assert read_all(connection).startswith(b"HTTP/1.1 200 OK\r\n")


def test_head_is_counted_apart_from_get_and_ignores_ranges(service: Service) -> None:
    head = b"HEAD /web/answer.js HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\nConnection: close\r\n\r\n"
    with service.connect(head) as connection:
        assert read_all(connection).startswith(b"HTTP/1.1 200 OK\r\n")
    line = 'http_requests_total{code="200",handler="/web/",method="HEAD"} '
    eventually(lambda: line in service.app.state.metrics.exposition().decode())  # once the file is closed


def test_a_refusal_instead_of_100_continue_closes_the_connection(service: Service) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
    picture = PICTURE.replace(b"Host: a", b"Host: a\r\nConnection: close\r\nExpect: 100-continue")
    with service.connect(head) as connection:
        received = read_all(connection)
        assert last(received) == (413, "payload_too_large")
        assert b"connection: close" in received
    with service.connect(picture[: -len(BOOT)]) as connection:
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BOOT)
        assert last(read_all(connection)) == (200, "Ankle boot")


# --- large headers ------------------------------------------------------------------------------------------------


def with_header(size: int, request: bytes = PICTURE) -> bytes:
    return closing(request).replace(b"Host: a\r\n", b"Host: a\r\nX-Large: " + b"x" * size + b"\r\n")


def test_a_header_within_the_limit_is_accepted(service: Service) -> None:
    assert service.answer(with_header(30_000)) == (200, "Ankle boot")


@pytest.mark.parametrize("size", [33_000, 200_000, 5_000_000])
def test_a_header_over_the_limit_is_431(service: Service, size: int) -> None:
    assert service.answer(with_header(size)) == (431, "header_too_large")


def test_a_header_over_the_limit_gets_an_answer_wherever_its_bytes_are(service: Service) -> None:
    assert service.answer(with_header(40_000)) == (431, "header_too_large")
    assert service.answer(closing(PICTURE).replace(b"/predict", b"/predict?" + b"x" * 40_000)) == (
        431,
        "header_too_large",
    )
    assert service.answer(closing(PICTURE).replace(b"Host: a\r\n", b"a: b\r\n" * 20_000)) == (431, "header_too_large")


def test_httptools_by_itself_would_accept_any_header() -> None:
    """The reason for a limit of our own: if this ever fails, the limit may go."""
    with serving(type("Unlimited", (Protocol,), {"max_header_bytes": 2**40})) as unlimited:
        assert unlimited.answer(with_header(2_000_000)) == (200, "Ankle boot")


@pytest.mark.parametrize(
    "rest", [b"0\r\n" + b"a: b\r\n" * 400_000, b"0\r\na: " + b"b" * 2_000_000, b"4;" + b"x" * 2_000_000]
)
def test_trailers_and_chunk_extensions_are_limited_too(service: Service, rest: bytes) -> None:
    assert service.answer(CHUNKED, b"4\r\nabcd\r\n", rest) == (431, "header_too_large")
    eventually(lambda: not service.held_bytes)


# --- what is not HTTP ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",  # TLS
        b"hello\r\n\r\n",
        PICTURE.replace(b"Content-Length: ", b"Content-Length: -"),
        PICTURE.replace(b"Content-Length: ", b"Content-Length: 9" + b"9" * 30),
        PICTURE.replace(b"Host: a", b"Host: a\r\nTransfer-Encoding: chunked"),  # two lengths: request smuggling
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /classes HTTP/1.1\r\n\r\n",
        b"GET /classes HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /classes HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
    ],
)
def test_what_is_not_http_gets_a_problem_too(service: Service, sent: bytes) -> None:
    assert service.answer(sent) == (400, "malformed_request")


@pytest.mark.usefixtures("restored_logging")
def test_what_is_not_http_leaves_one_log_line_that_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="json"))
    with serving() as service:
        service.answer(b"hello\r\n\r\n")
    events = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    (event,) = (event for event in events if "HTTP" in event)
    assert event.startswith("cut off: Expected an HTTP/1 request, received something else, or a method, path")


@pytest.mark.parametrize(
    "rest",
    [
        b"hello\r\n\r\n",
        b"GET /classes HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: %s\r\n\r\n" % (b"x" * 600_000),
        PICTURE,
        CLASSES * 5000,
    ],
    ids=["no HTTP", "no Host", "header too large", "another request", "many requests"],
)
@pytest.mark.parametrize("is_in_one_piece", [True, False])
def test_a_request_is_answered_and_the_connection_closed_if_more_arrives_before_the_answer(
    rest: bytes, *, is_in_one_piece: bool
) -> None:
    classifier = HeldClassifier()
    with serving(classifier=classifier) as service:
        sent = [PICTURE + rest] if is_in_one_piece else [PICTURE, rest]
        with service.connect(sent[0]) as connection:
            assert classifier.entered.wait(SOON_SECONDS)
            with suppress(OSError):
                connection.sendall(b"".join(sent[1:]))
            if not is_in_one_piece:
                time.sleep(SLOW_SECONDS / 5)
            classifier.release.set()
            received = read_all(connection)
        counted = service.app.state.metrics.exposition().decode()
    assert received.count(b"HTTP/1.1 200 OK") == received.count(b"HTTP/1.1 ") == 1
    assert 'http_requests_total{code="200",handler="/predict",method="POST"} 1.0' in counted


def test_a_header_that_begins_in_the_segment_of_another_request_is_timed_too(impatient: Service) -> None:
    assert impatient.answer(CLASSES + b"GET /classes HT") == (408, "too_slow")
    assert impatient.answer(CLASSES, b"GET /classes HT") == (408, "too_slow")


def test_a_line_break_on_an_idle_connection_is_not_a_request(impatient: Service) -> None:
    with impatient.connect(CLASSES) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"\r\n")
        time.sleep(2 * SLOW_SECONDS)
        connection.sendall(closing(CLASSES))
        assert read_all(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("address", ["http://a", "http://a?x=1", "http://a/", "https://a:1"])
def test_an_absolute_url_may_leave_out_the_root_path(service: Service, address: str) -> None:
    request = f"GET {address} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with service.connect(request.encode()) as connection:
        assert b"<title>Which garment" in read_all(connection)


def test_a_query_has_a_limited_number_of_parameters(service: Service) -> None:
    most = closing(PICTURE.replace(b"/predict", b"/predict?" + b"&".join([b"preview=true"] * Protocol.max_parameters)))
    assert service.answer(most)[0] == 200
    assert service.answer(most.replace(b"&", b"&preview=true&", 1)) == (400, "malformed_request")


def test_http_1_0_gets_no_100_continue(service: Service) -> None:
    request = PICTURE.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: a", b"Expect: 100-continue")
    with service.connect(request) as connection:
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")


def test_a_trailer_is_not_a_header(service: Service) -> None:
    chunks = b"%x\r\n%s\r\n0\r\nX-Request-ID: forged\r\nHost: b\r\n\r\n" % (len(BOOT), BOOT)
    with service.connect(closing(CHUNKED) + chunks) as connection:
        received = read_all(connection)
    assert last(received) == (200, "Ankle boot")
    assert b"forged" not in received


def test_http_1_0_needs_no_host(service: Service) -> None:
    with service.connect(b"GET /health/live HTTP/1.0\r\n\r\n") as connection:
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")


UPGRADE = b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n"


def test_an_upgrade_is_ignored_and_its_request_is_the_last_on_the_connection(service: Service) -> None:
    with service.connect(CLASSES[:-2] + UPGRADE) as connection:
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer


def test_an_upgrade_with_a_body_is_refused_with_what_to_set(service: Service) -> None:
    with service.connect(PICTURE.replace(b"\r\n\r\n", b"\r\n" + UPGRADE, 1)) as connection:
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"HttpClient.Version.HTTP_1_1" in received


# --- how much at a time -------------------------------------------------------------------------------------------


def test_bodies_over_the_total_limit_are_refused_and_their_bytes_given_back() -> None:
    with serving(max_pending_bytes=100_000) as service:
        holders = [service.connect(CHUNKED, b"7530\r\n" + bytes(30_000)) for _ in range(3)]
        eventually(lambda: service.held_bytes > 90_000)
        assert service.answer(
            closing(PICTURE)
            .replace(BOOT, BOOT + bytes(30_000))
            .replace(b"Length: %d" % len(BOOT), b"Length: %d" % (len(BOOT) + 30_000))
        ) == (503, "overloaded")
        assert service.answer(closing(PICTURE)) == (200, "Ankle boot")
        for holder in holders:
            holder.close()
        eventually(lambda: service.held_bytes == 0)


def test_a_body_without_room_is_refused_before_any_of_it_arrives() -> None:
    with serving(max_pending_bytes=100_000) as service:
        announcement = closing(PICTURE).replace(BOOT, b"").replace(b"Length: %d" % len(BOOT), b"Length: 100001")
        assert service.answer(announcement) == (503, "overloaded")


def test_the_largest_body_finds_room_if_it_is_alone() -> None:
    """Even in pieces smaller than those of any network, under the lowest limit with which the service starts."""
    largest, piece = 1_000_000 + FRAMING_BYTES, PIECE_BYTES
    settings = {"MAX_BODY_BYTES": 1_000_000, "MAX_BATCH_BYTES": 1, "MAX_PENDING_BYTES": 2 * largest}
    limit = read_settings({f"FASHION_{name}": str(value) for name, value in settings.items()}).max_pending_bytes
    held = Held(BodyBudget(limit))
    held.require_room(largest)
    for _ in range(largest // piece):
        held.take(piece + PIECE_BYTES)


def test_a_body_in_small_pieces_counts_more_than_its_bytes() -> None:
    budget = BodyBudget(10_000)
    held = Held(budget)
    for _ in range(77):
        held.take(1 + PIECE_BYTES)
    with pytest.raises(OverloadedError, match="at most 10000 bytes"):
        held.take(1 + PIECE_BYTES)
    assert budget.held_bytes == 77 * 129
    held.release()
    assert budget.held_bytes == 0


def test_a_connection_over_the_limit_is_503_at_once() -> None:
    with serving(max_connections=3) as service:
        first = [service.connect(PICTURE) for _ in range(3)]
        assert all(connection.recv(100).startswith(b"HTTP/1.1 200") for connection in first)
        assert service.answer() == (503, "overloaded")
        for connection in first:
            connection.close()
        eventually(lambda: not service.server.server_state.connections)
        assert service.answer(closing(PICTURE)) == (200, "Ankle boot")


def test_a_connection_over_the_limit_does_not_stay_open_until_its_client_closes_it() -> None:
    lingering = type("Lingering", (Protocol,), {"linger_seconds": 3600.0})
    with serving(lingering, max_connections=1) as service, service.connect(PICTURE) as first:
        assert first.recv(100).startswith(b"HTTP/1.1 200")
        with service.connect() as extra:
            assert last(read_all(extra)) == (503, "overloaded")
            eventually(lambda: len(service.server.server_state.connections) == 1)


def test_refusals_before_there_is_a_request_are_counted_too() -> None:
    with serving(Impatient, receive_seconds=SLOW_SECONDS) as service:
        assert service.answer(b"GET / HTTP/1.1\r\n") == (408, "too_slow")
        assert service.answer(b"nonsense\r\n\r\n") == (400, "malformed_request")
        assert service.answer(PICTURE[:-1]) == (413, "body_too_slow")
        service.connect(PICTURE[:-1]).close()
        left = 'http_requests_total{code="none",handler="/predict",method="POST"} 1.0'
        eventually(lambda: left in service.app.state.metrics.exposition().decode())
        counted = service.app.state.metrics.exposition().decode()
    assert 'fashion_refusals_total{reason="too_slow"} 1.0' in counted
    assert 'fashion_refusals_total{reason="body_too_slow"} 1.0' in counted
    assert 'http_requests_total{code="413",handler="/predict",method="POST"} 1.0' in counted
    assert 'fashion_refusals_total{reason="malformed_request"} 1.0' in counted
