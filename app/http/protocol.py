"""uvicorn's HTTP protocol with limits that it lacks: on the size of headers, on slow senders, on connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.errors import (
    BodyTooSlowError,
    HeaderTooLargeError,
    MalformedRequestError,
    OverloadedError,
    RequestTooSlowError,
)
from app.http.problems import refusal
from app.telemetry.trace import CUT_OFF

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from app.errors import ServiceError
    from app.settings import Settings
    from app.telemetry.metrics import Metrics


# What a client has to send next. At NOTHING, its request is complete, and uvicorn's keep-alive waits for another.
HEADER, BODY, NOTHING = range(3)  # members of an Enum are slower to look up

CONTINUE = b"HTTP/1.1 100 "
"""Beginning of the interim answer, which may precede the final one and is not held back."""

_OF_A_BODY = {b"content-length", b"transfer-encoding"}


class HeadWithBody:
    """A transport that holds back the head of an answer, to send it in one segment with the first piece of the body.

    uvicorn writes each with a call of its own. That costs an extra call, here and at the reader. If the worker were
    killed in between, a proxy would have a head already, after which it cannot ask another worker.

    It has no reference to its request: the two would keep each other alive until the garbage collector runs, which
    costs more than the call. Its reference to the connection is replaced when the connection is lost.
    """

    __slots__ = ("_head", "_transport", "close", "is_closing")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        """Take the transport to write to, and the function that closes it."""
        self._transport = transport
        self._head: bytes | None = None
        self.close = close
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Write at once, but the head with the next piece: every answer has a body, even if an empty one (ASGI)."""
        if self._head is None and not data.startswith(CONTINUE):
            self._head = data
        elif self._head:
            self._transport.write(self._head + data)
            self._head = b""
        else:
            self._transport.write(data)


class Protocol(HttpToolsProtocol):
    """One connection. If it refuses what it received, it sends a problem where an answer is due, and closes.

    Of pipelined requests, which hardly any client sends, it answers the first and closes.

    A timer runs only while a header or a body is incomplete, or an answer is left unread: a request that arrives in one
    piece never starts one. The settings arrive as the lifespan's state (ASGI, lifespan state), so that every worker has
    its own.
    """

    header_seconds: ClassVar[float] = 10.0
    unread_seconds: ClassVar[float] = 30.0
    """How long a client may read nothing once its answers no longer fit into the buffers."""
    linger_seconds: ClassVar[float] = 10.0
    """How long to keep reading what a client sends after the answer that closes its connection. Closing at once would
    reset the connection, and a client that sends everything before it reads, as Python's own does, would never see the
    answer. Source: nginx, `lingering_close`."""
    max_header_bytes: ClassVar[int] = 32 * 1024
    """Maximum for request line, headers and trailers, and for chunk framing between two bytes of the body. httptools
    has no limit of its own and keeps them all. Source: nginx, `large_client_header_buffers`."""

    max_parameters: ClassVar[int] = 32
    """Maximum for a query: whatever reads a query splits it into all of its parameters."""

    def __init__(self, *, app_state: dict[str, Any], **options: Any) -> None:  # noqa: ANN401  uvicorn's
        """Take what uvicorn passes."""
        super().__init__(app_state=app_state, **options)
        self._settings: Settings = app_state["service"].settings
        self._metrics: Metrics = app_state["service"].metrics
        self._awaited = HEADER
        self._timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._framing_bytes = 0
        self._malformed: ServiceError | None = None
        self._listens = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Start waiting for the first header, unless there are too many connections."""
        super().connection_made(transport)
        limit = self._settings.max_connections
        if len(self.connections) > limit:
            msg = f"Expected at most {limit} connections at a time, received one more. Try again later."
            self._cut_off(OverloadedError(msg, 1))
            self.transport.close()  # at once, without lingering
            return
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting, and notify the request in progress."""
        self._stop_timer()
        self._stop_unread_timer()
        self._unset_keepalive_if_required()  # after a reset uvicorn leaves it running, which keeps all of this alive
        self._tell_that_nobody_listens()
        if self.cycle is not None:  # else it and this would keep each other alive
            self.cycle.transport = self.transport
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Give the client limited time to read what has been written."""
        super().pause_writing()
        self._start_unread_timer()

    def resume_writing(self) -> None:
        """Resume: the client has read."""
        self._stop_unread_timer()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, and limit the wait for the rest, if any is missing."""
        if not self._listens:
            return
        self._framing_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing() or not self._listens:
            return
        if self._awaited == NOTHING:
            self._framing_bytes = 0
            # Refused before its body had arrived, or followed by a line break: either cancelled uvicorn's keep-alive.
            if self.cycle.response_complete:
                self._keep_alive()
        elif self._framing_bytes > self.max_header_bytes:
            self._cut_off(self._header_too_large())
        elif self._timer is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        """Start waiting for the header, even of a request that directly follows another."""
        self._awaited = HEADER
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hand the request to the app.

        Raises:
            ValueError: The request is refused. This stops httptools, and uvicorn calls `send_400_response`.
        """
        self._malformed = self._fault_of_head()
        if self._malformed:
            raise ValueError  # not what is kept: its traceback and this would keep each other alive
        upgrades = self.parser.should_upgrade()
        if self.url.startswith((b"http://", b"https://")):
            self.url = _with_path(self.url)
        super().on_headers_complete()
        if self.expect_100_continue and self.parser.get_http_version() == "1.0":  # which has no interim answers
            self.cycle.waiting_for_100_continue = False
        if upgrades:  # httptools then reads no body, and what follows is not the next request
            self.cycle.keep_alive = False
        if self.parser.get_method() != b"HEAD":
            self.cycle.transport = cast("asyncio.Transport", HeadWithBody(self.transport, self._close))
        if self._timer is not None:
            self._stop_timer()
        self._framing_bytes = 0
        self._awaited = BODY

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, but no trailer, whatever its name (RFC 9110, 6.5.1)."""
        if self._awaited != BODY:
            super().on_header(name, value)

    def on_response_complete(self) -> None:
        """Forget what was not read of the request, and limit the time for reading an answer that closes."""
        if self.cycle.response_complete:
            self.cycle.body.clear()  # the request was refused before it was read
        super().on_response_complete()
        self._close_read_or_not()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, even if nobody reads its last answer."""
        super().timeout_keep_alive_handler()
        self._close_read_or_not()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._framing_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop waiting: the whole request has arrived."""
        if self._timer is not None:
            self._stop_timer()
        self._framing_bytes = 0
        self._awaited = NOTHING
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's, and always the same
        """Refuse what is not HTTP with a problem like any other refusal, where uvicorn would send plain text."""
        error = MalformedRequestError(
            "Expected an HTTP/1 request, received something else, or a method, path or header that HTTP does not allow."
            " Let an HTTP library write it, with http:// and not https://, which the service itself does not speak."
        )
        self._cut_off(self._malformed or error)

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: any client may offer another protocol, and uvicorn's line names packages that change nothing."""

    def _fault_of_head(self) -> ServiceError | None:
        """Return why a request that has just begun must be refused, or None."""
        if self._is_answering():
            return MalformedRequestError("Expected one request at a time, received another before the answer.")
        if self._framing_bytes > self.max_header_bytes and self._header_bytes() > self.max_header_bytes:
            return self._header_too_large()
        if self.url.count(b"&") >= self.max_parameters:
            msg = f"Expected at most {self.max_parameters} parameters in the query, received more. Send fewer."
            return MalformedRequestError(msg)
        hosts = len([name for name, _ in self.headers if name == b"host"])
        if hosts != 1 and (hosts or self.parser.get_http_version() == "1.1"):  # RFC 9112, 3.2
            return MalformedRequestError(f"Expected one Host header, received {hosts}.")
        if self.parser.should_upgrade() and any(name in _OF_A_BODY and value != b"0" for name, value in self.headers):
            msg = "Expected HTTP/1.1 without an Upgrade, received a request with an Upgrade and a body, which would "
            msg += "be lost. In Java set HttpClient.Version.HTTP_1_1; with curl leave out --http2."
            return MalformedRequestError(msg)
        return None

    def _header_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _header_too_large(self) -> HeaderTooLargeError:
        msg = f"Expected at most {self.max_header_bytes} bytes besides the body, received more. Send fewer headers."
        return HeaderTooLargeError(msg)

    def _start_timer(self) -> None:
        seconds = self._settings.receive_seconds if self._awaited == BODY else self.header_seconds
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _keep_alive(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _too_slow(self) -> None:
        if self._awaited == HEADER and self._is_answering():  # an earlier request, whose own deadline ends it
            self._start_timer()
            return
        if self._awaited == BODY:
            msg = f"Expected the whole body within {self._settings.receive_seconds:g} seconds, received only part of "
            msg += "it. Send a smaller picture; the model looks at 28 x 28."
            self._cut_off(BodyTooSlowError(msg))
        else:
            msg = f"Expected the whole header within {self.header_seconds:g} seconds, received only part of it."
            self._cut_off(RequestTooSlowError(msg))

    def _cut_off(self, error: ServiceError) -> None:
        """Answer with a problem if the connection waits for an answer to this very request, and close it.

        The answer to a request that came before is sent first.
        """
        self._stop_timer()
        if self.transport.is_closing():
            return
        if self._awaited != BODY and self._is_answering():
            self._listens = False
            self.cycle.keep_alive = False  # its answer closes
            return
        if self._owes_an_answer():
            self.logger.info("cut off: %s", error)
            self._metrics.refused(error.code)
            response = refusal(error)
            headers = [*self.server_state.default_headers, *response.raw_headers, (b"connection", b"close")]
            lines = [STATUS_LINE[response.status_code], *(b"%s: %s\r\n" % header for header in headers), b"\r\n"]
            self.transport.write(b"".join(lines) + bytes(response.body))
            if self._awaited == BODY:
                cast("dict[str, Any]", self.cycle.scope)[CUT_OFF] = response.status_code
            self._close()
        else:
            self.transport.close()
        self._tell_that_nobody_listens()
        self._close_read_or_not()

    def _close(self) -> None:
        """Close after an answer; if more of a request is on its way, only after lingering to read it."""
        if self._awaited == NOTHING or not self.transport.can_write_eof():  # TLS cannot
            self.transport.close()
            return
        self._listens = False
        self.transport.write_eof()
        self.flow.resume_reading()
        self._stop_timer()
        self._timer = self.loop.call_later(self.linger_seconds, self.transport.abort)

    def _tell_that_nobody_listens(self) -> None:
        if self._is_answering():
            cast("dict[str, Any]", self.cycle.scope).setdefault(CUT_OFF, 0)  # no answer reaches the client
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _owes_an_answer(self) -> bool:
        """Tell whether an answer is due: not if a browser connected in advance or still gets another answer."""
        if self._awaited == HEADER:
            if self.cycle is not None:  # so another request has begun
                return bool(self.cycle.response_complete)
            return self._framing_bytes > 0 or len(self.connections) > self._settings.max_connections
        return self.cycle is not None and not self.cycle.response_started

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_read_or_not(self) -> None:
        """Limit the time in which the client reads the rest of a closing connection, for which closing waits."""
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._start_unread_timer()

    def _start_unread_timer(self) -> None:
        self._unread_timer = self._unread_timer or self.loop.call_later(self.unread_seconds, self.transport.abort)

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None


def _with_path(url: bytes) -> bytes:
    """Return an absolute URL with its path, which may be left out if it is the root (RFC 9112, 3.2.2)."""
    address, mark, query = url.partition(b"?")
    return url if address.count(b"/") > 2 else b"".join((address, b"/", mark, query))  # noqa: PLR2004  of `://`
