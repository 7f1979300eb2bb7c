"""Stops serving in steps, so that no accepted request is lost."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from app.processes.ports import begin_no_more, leave_to_the_next, listens

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from types import FrameType

    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LOOK_SECONDS = 0.05
LAST_LOOKS = 20
"""How many times at most, `LOOK_SECONDS` apart, open connections are checked before the idle ones are closed."""

SAME_SIGNAL_SECONDS = 1.0
"""The same signal within this time counts once: a terminal or systemd signals all processes, and the supervisor then
signals its workers too."""

_CLOSE = (b"connection", b"close")

logger = logging.getLogger(__name__)


class Config(uvicorn.Config):
    """uvicorn's configuration, and how long to keep serving after SIGTERM."""

    def __init__(self, app: Callable[..., Any] | str, *, drain_seconds: float, **options: Any) -> None:  # noqa: ANN401  uvicorn's own
        """Take `drain_seconds`, and pass all other options to uvicorn."""
        super().__init__(app, **options)
        self.drain_seconds = drain_seconds

    @property
    def stop_seconds(self) -> float:
        """How long it may take from the signal to the exit; a process still there by then counts as hung."""
        return self.drain_seconds + (self.timeout_graceful_shutdown or 0) + self.timeout_worker_healthcheck


class DrainingServer(uvicorn.Server):
    """Stops in four steps on SIGTERM.

    1. It reports that it is not ready, so that load balancers send it no more requests. It keeps serving until they
       have noticed, and each response asks to close its connection.
    2. It accepts the connections that are queued or still in their handshake, and stops listening.
    3. It reads what was sent on open connections, and closes the idle ones.
    4. It waits for the requests in flight, no longer than `timeout_graceful_shutdown`, and exits.

    SIGINT, a second SIGTERM and a drain of 0 seconds skip the first step. A worker that has been replaced stays ready
    throughout: it shares a port with the workers that go on, so its readiness would be taken for theirs.

    Attributes:
        has_turned: Set by each tick of the event loop while it serves and no thread is stuck; the watchdog resets it.
    """

    def __init__(self, config: Config) -> None:
        """Take the configuration."""
        super().__init__(config)
        self.has_turned = False
        self._drain_seconds = config.drain_seconds
        self._drained_at: float | None = None
        self._retires = False
        self._told_at: dict[int, float] = {}
        self._listening: Sequence[socket.socket] = ()
        self._is_stuck: Callable[[], bool] = lambda: False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; before anything is served, end at once, since loading the model may take long."""
        if not self.started:
            os._exit(0 if sig == signal.SIGTERM else 128 + sig)
        now = time.monotonic()
        if now - self._told_at.get(sig, -math.inf) < SAME_SIGNAL_SECONDS:
            return
        self._told_at[sig] = now
        if sig == signal.SIGTERM and (self._retires or not self.stops):
            self._retires = False
            self._drain()
            return
        super().handle_exit(sig, frame)

    def retire(self) -> None:
        """Begin to stop, because another worker has taken its place."""
        if self.started and not self.stops:
            self._retires = True
            self._drain()
        elif not self.started:
            self.should_exit = True

    @property
    def stops(self) -> bool:
        """Whether the server has been told to stop."""
        return self.should_exit or self._drained_at is not None

    async def on_tick(self, counter: int) -> bool:
        """Check, ten times a second, whether to stop."""
        self.has_turned = not self._is_stuck()
        if self._drained_at is not None and time.monotonic() >= self._drained_at:
            self.should_exit = True
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the bound sockets.

        Raises:
            SystemExit: Another program began to listen in the meantime, which uvloop does not report.
        """
        self._listening = sockets or ()
        await super().startup(sockets)
        if not all(map(listens, self._listening)):
            logger.error("cannot listen on %s:%s: another program does by now", self.config.host, self.config.port)
            await self.lifespan.shutdown()
            sys.exit(STARTUP_FAILURE)
        for listener in self._listening:
            leave_to_the_next(listener)
        if self.started:
            self._is_stuck = self.lifespan.state["service"].predictor.is_stuck

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, answer what was sent, and exit."""
        self._announce()
        await self._listen_no_more()
        for _ in range(LAST_LOOKS):
            await asyncio.sleep(LOOK_SECONDS)
            if not self._somebody_speaks():
                break
        await super().shutdown(sockets)

    def _drain(self) -> None:
        """Keep serving for `drain_seconds`, or until the end of a drain that has already begun."""
        if self._drained_at is None:
            self._drained_at = time.monotonic() + self._drain_seconds
        self._announce()

    def _announce(self) -> None:
        """Report not ready, unless replaced by another worker, and let each response be the last on its connection."""
        self.lifespan.state["service"].ready = self._retires
        if _CLOSE not in self.config.encoded_headers:  # uvicorn copies these to its default headers once a second
            self.config.encoded_headers.append(_CLOSE)
            self.server_state.default_headers = [*self.server_state.default_headers, _CLOSE]

    async def _listen_no_more(self) -> None:
        """Stop listening, and accept queued connections by hand, since the kernel resets them once nobody listens."""
        for listener in self._listening:
            with suppress(OSError):  # a sandbox may forbid it; some new connections are reset then
                begin_no_more(listener)
        await asyncio.sleep(LOOK_SECONDS)  # lets handshakes that have begun complete
        waiting = [connection for listener in self._listening for connection in _accept_all(listener)]
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            await loop.connect_accepted_socket(
                lambda: self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn calls it
                    config=self.config, server_state=self.server_state, app_state=self.lifespan.state
                ),
                connection,
            )

    def _somebody_speaks(self) -> bool:
        """Tell whether any connection is new or has unread data, which closing it would lose."""
        poll = select.poll()
        for connection in cast("set[HttpToolsProtocol]", self.server_state.connections):
            if connection.cycle is None:
                return True
            if connection.cycle.response_complete and not connection.transport.is_closing():
                poll.register(connection.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))


def _accept_all(listener: socket.socket) -> list[socket.socket]:
    """Accept all queued connections: to their clients they are established, and may carry a request."""
    accepted: list[socket.socket] = []
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # none is left
            return accepted
        connection.settimeout(0)
        accepted.append(connection)
