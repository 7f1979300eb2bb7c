"""Gives each request an id, a trace, a log line, and an answer if the code fails."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from typing import TYPE_CHECKING

import structlog

from app.errors import NotReadyError
from app.http.headers import header
from app.http.problems import ProblemResponse, internal_problem, refusal
from app.telemetry.logs import request_id
from app.telemetry.trace import CUT_OFF, SHOWN_PATH, TRACE, Trace

if TYPE_CHECKING:
    from typing import Any

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from app.telemetry.metrics import Metrics

HEADER = b"x-request-id"
PROBES = ("/health/", "/metrics")
ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""Ids that a client may choose; any other could forge log lines or headers, and is replaced."""

logger = structlog.get_logger(__name__)


class RequestTracing:
    """Pure ASGI: Starlette's BaseHTTPMiddleware would halve the throughput."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Take the app to wrap, and the metrics that count requests."""
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        own_id = _request_id(scope)
        trace = scope[TRACE] = Trace()
        status = 0
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER, own_id.encode())]
            await send(message)

        # Never reset: each request has its own task, and with it its own context.
        request_id.set(own_id)
        try:
            await self.app(scope, receive, send_with_id)
        except asyncio.CancelledError:  # by uvicorn, when the time limit for stopping has passed
            if status:
                raise
            await refusal(NotReadyError(NotReadyError.example, 1))(scope, receive, send_with_id)
        except Exception:  # the border of the process: no detail may reach the client
            logger.exception("request failed", path=scope["path"][:SHOWN_PATH])
            if status:  # an answer has begun: uvicorn cuts the connection
                raise
            await ProblemResponse(internal_problem())(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            status = scope.get(CUT_OFF, status if trace.is_heard else 0)
            self._metrics.request(scope["method"], scope["path"], status, seconds, trace)
            # Probes come every few seconds and would bury the rest.
            level = logging.DEBUG if scope["path"].startswith(PROBES) else logging.INFO
            if logging.root.isEnabledFor(level):  # checked first: gathering the fields takes longer
                logger.log(
                    level,
                    "request",
                    method=scope["method"],
                    path=scope["path"][:SHOWN_PATH],
                    status=status,
                    milliseconds=round(1000 * seconds, 2),
                    **trace.facts(),
                )


def document(api: dict[str, Any]) -> None:
    """State in the API document that every call accepts an id and every answer has one."""
    name = "X-Request-ID"
    of_answers = {
        "description": "The request's id, as in the log; missing where the request was refused before it was read "
        "whole (400, 408, 431, a body too slow, too many connections).",
        "schema": {"type": "string"},
    }
    of_requests = {
        "name": name,
        "in": "header",
        "description": "An id of your own, up to 128 letters, digits, `.`, `_` or `-`; any other is replaced.",
        "schema": {"type": "string"},
    }
    for path in api["paths"].values():
        for operation in path.values():
            operation.setdefault("parameters", []).append(of_requests)
            for response in operation["responses"].values():
                response.setdefault("headers", {})[name] = of_answers


def _request_id(scope: Scope) -> str:
    given = header(scope, HEADER)
    return given if given and ACCEPTED_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
