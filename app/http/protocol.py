"""uvicorn's HTTP protocol with limits that it lacks: on the size of headers, on slow senders, on connections."""

from __future__ import annotations

from itertools import filterfalse
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, cast

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
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

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from app.errors import ServiceError
    from app.settings import Settings
    from app.telemetry.metrics import Metrics


# What a client has to send next. At NOTHING, its request is complete, and uvicorn's keep-alive waits for another.
HEADER, BODY, NOTHING = range(3)  # members of an Enum are slower to look up

CONTINUE = b"HTTP/1.1 100 "
"""Beginning of the interim answer, which may precede the final one and is not held back."""

_OF_A_BODY = {b"content-length", b"transfer-encoding"}
_is_answered = attrgetter("response_complete")


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


class Flow(FlowControl):
    """uvicorn's flow control, except that no request resumes reading while enough has arrived.

    Otherwise each request that checks whether its client is still there would resume it.

    Attributes:
        is_full: Whether enough has arrived for requests that wait for the answer to another, so that no more is read.
    """

    is_full = False

    def resume_reading(self) -> None:
        """Resume reading, unless enough has arrived."""
        if not self.is_full:
            super().resume_reading()


class Protocol(HttpToolsProtocol):
    """One connection. If it refuses what it received, it sends a problem where an answer is due, and closes.

    A timer runs only while a header or a body is incomplete, or an answer is left unread: a request that arrives in one
    piece never starts one. The settings arrive as the lifespan's state (ASGI, lifespan state), so that every worker has
    its own.
    """

    header_seconds: ClassVar[float] = 10.0
    unread_seconds: ClassVar[float] = 30.0
    """How long a client may read nothing once its answers no longer fit into the buffers."""
    linger_seconds: ClassVar[float] = 10.0
    """How long to keep reading what a client sends after the last answer on its connection. Closing at once would
    reset the connection, and a client that sends everything before it reads, as Python's own does, would never see the
    answer. Source: nginx, `lingering_close`."""
    max_header_bytes: ClassVar[int] = 32 * 1024
    """Maximum for request line, headers and trailers, and for chunk framing between two bytes of the body. httptools
    has no limit of its own and keeps them all. Source: nginx, `large_client_header_buffers`."""

    max_ahead: ClassVar[int] = 64
    """How many requests may wait for the answer to an earlier one. Hardly any client pipelines requests, and a read of
    the socket may hold ten thousand, each of which costs time and memory that no other limit counts."""

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
        self._unanswered: list[RequestResponseCycle] = []  # several if the client pipelines requests
        self._framing_bytes = 0
        self._malformed: ServiceError | None = None
        self._listens = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Start waiting for the first header, unless there are too many connections."""
        super().connection_made(transport)
        self.flow: Flow = Flow(transport)
        limit = self._settings.max_connections
        if len(self.connections) > limit:
            msg = f"Expected at most {limit} connections at a time, received one more. Try again later."
            self._cut_off(OverloadedError(msg, 1))
            self.transport.close()  # at once, without lingering
            return
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting, and notify all requests in progress: uvicorn notifies only the newest."""
        self._stop_timer()
        self._stop_unread_timer()
        self._unset_keepalive_if_required()  # after a reset uvicorn leaves it running, which keeps all of this alive
        self._tell_all_that_nobody_listens()
        for cycle in self._unanswered:  # the newest too, answered or not; else it and this would keep each other alive
            cycle.transport = self.transport
        self._unanswered = []
        for cycle, _ in self.pipeline:  # never started; its reference is cut for the same reason
            cycle.on_response = _do_nothing
        self.pipeline.clear()
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
            ServiceError: The request is refused. This stops httptools, and uvicorn calls `send_400_response`.
        """
        if fault := self._fault_of_head():
            self._malformed = fault
            raise fault
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
        self._unanswered = [*filterfalse(_is_answered, self._unanswered), self.cycle]
        if self._timer is not None:
            self._stop_timer()
        self._framing_bytes = 0
        self._awaited = BODY

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, but no trailer, whatever its name (RFC 9110, 6.5.1)."""
        if self._awaited != BODY:
            super().on_header(name, value)

    def on_response_complete(self) -> None:
        """Start the next request; if one waits, read no more until it asks for its body or checks for its client."""
        self.flow.is_full = False
        if self.cycle.response_complete:
            self.cycle.body.clear()  # the request was refused before it was read
        super().on_response_complete()
        if self.pipeline:
            self._read_on_or_not()
            self.flow.pause_reading()
        self._close_read_or_not()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, even if nobody reads its last answer."""
        super().timeout_keep_alive_handler()
        self._close_read_or_not()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._framing_bytes = 0
        super().on_body(body)
        if self.pipeline:
            self._read_on_or_not()

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
            "Expected an HTTP/1 request, received something else, or a method that HTTP does not define. Let an HTTP "
            "library write it, with http:// and not https://, which the service itself does not speak."
        )
        self._cut_off(self._malformed or error)

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: any client may offer another protocol, and uvicorn's line names packages that change nothing."""

    def _fault_of_head(self) -> ServiceError | None:
        """Return why a request that has just begun must be refused, or None."""
        if len(self.pipeline) >= self.max_ahead:
            msg = f"Expected at most {self.max_ahead} requests without an answer, received one more. Wait for answers."
            return MalformedRequestError(msg)
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
        if self._answers_an_earlier_one():  # that answer must not be lost; its own deadline ends it
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

        If whole requests came before, their answers are sent first.
        """
        self._stop_timer()
        if self.transport.is_closing():
            return
        if self._awaited == BODY and self.pipeline:  # it ends the connection once those before it are answered
            self.pipeline.popleft()
            self._unanswered.pop()
            self.cycle = self._unanswered[-1]
            self._awaited = HEADER
        if self._awaited != BODY and self._is_answering():
            self._listens = False
            self.cycle.keep_alive = False  # the last answer closes
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
        self._tell_all_that_nobody_listens()
        self._close_read_or_not()

    def _close(self) -> None:
        """Close after the last answer; if more of a request is on its way, only after lingering to read it."""
        if self._awaited == NOTHING or self.pipeline or not self.transport.can_write_eof():  # TLS cannot
            self.transport.close()
            return
        self._listens = False
        self.transport.write_eof()
        self.flow.resume_reading()
        self._stop_timer()
        self._timer = self.loop.call_later(self.linger_seconds, self.transport.abort)

    def _read_on_or_not(self) -> None:
        """Read no more while requests that have not been started hold enough: no budget counts their bodies yet."""
        if sum(len(cycle.body) for cycle, _ in self.pipeline) > HIGH_WATER_LIMIT:
            self.flow.is_full = True
            self.flow.pause_reading()

    def _tell_all_that_nobody_listens(self) -> None:
        for cycle in filterfalse(_is_answered, self._unanswered):
            cast("dict[str, Any]", cycle.scope).setdefault(CUT_OFF, 0)  # no answer reaches the client
            cycle.disconnected = True
            cycle.message_event.set()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _answers_an_earlier_one(self) -> bool:
        return bool(self.pipeline) or (self._awaited == HEADER and self._is_answering())

    def _owes_an_answer(self) -> bool:
        """Tell whether an answer is due: not if a browser connected in advance or still gets another answer."""
        if self._awaited == HEADER:
            if self.cycle is not None:  # so another request has begun
                return bool(self.cycle.response_complete)
            return self._framing_bytes > 0 or len(self.connections) > self._settings.max_connections
        return not self.pipeline and self.cycle is not None and not self.cycle.response_started

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


def _do_nothing() -> None:
    """Replace a callback that nobody needs any more."""


def _with_path(url: bytes) -> bytes:
    """Return an absolute URL with its path, which may be left out if it is the root (RFC 9112, 3.2.2)."""
    address, mark, query = url.partition(b"?")
    return url if address.count(b"/") > 2 else b"".join((address, b"/", mark, query))  # noqa: PLR2004  of `://`
