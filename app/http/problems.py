"""Answers every error in one shape, `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import reprlib
from difflib import get_close_matches
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from app.errors import InvalidRequestError, RetryableError, ServiceError, UnauthorizedError
from app.http.forms import IN_QUERY
from app.http.headers import header
from app.http.pages import HEADERS_OF_MADE, lost_page, prefers_html
from app.schemas import Problem, problem_of
from app.telemetry.trace import SHOWN_PATH, TRACE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "application/problem+json"
SIMILAR = 0.75
"""Minimum similarity (`difflib`) at which a known path is suggested in place of an unknown one."""
NOT_STORED = (b"cache-control", b"no-store")
"""An answer about one picture, or to one client, must not be cached for others."""


class JsonAnswer(Response):
    """An answer in JSON that only one request gets, with the three headers that it needs."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:  # noqa: ARG002  Starlette's signature
        """Set the headers directly: Starlette's method encodes each and checks which are already there."""
        self.raw_headers = [
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", b"application/json"),
            NOT_STORED,
        ]


class ProblemResponse(Response):
    """A problem as an HTTP response, which notes its code in the trace of the request."""

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None, page: str | None = None) -> None:
        """Take the problem, headers to send with it, and the HTML page that states it if a person is to read it."""
        body, media_type = (page, "text/html") if page else (problem.model_dump_json(), MEDIA_TYPE)
        super().__init__(body, problem.status, {**(headers or {}), "Cache-Control": "no-store"}, media_type)
        self._code = problem.code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the problem."""
        if TRACE in scope:
            scope[TRACE].problems.append(self._code)
        if header(scope, b"expect"):  # the client may send the body all the same, but nobody reads it
            self.raw_headers.append((b"connection", b"close"))
        await super().__call__(scope, receive, send)


def refusal(error: ServiceError) -> Response:
    """Return the answer to a request that failed with an error."""
    headers: dict[str, str] | None = None
    if isinstance(error, RetryableError):
        headers = {"Retry-After": str(error.retry_after_seconds)}
    elif isinstance(error, UnauthorizedError):
        headers = {"WWW-Authenticate": 'Bearer realm="fashion-mnist"'}
    return ProblemResponse(problem_of(error), headers)


def internal_problem() -> Problem:
    """Return the problem for a failure of our own, which reveals nothing about what failed."""
    return problem_of(ServiceError(ServiceError.example))


def install(app: FastAPI, paths: Sequence[str]) -> None:
    """Register the handlers that turn every error into a problem; for a wrong path they suggest one of `paths`."""
    app.add_exception_handler(ServiceError, _service_error)  # type: ignore[arg-type]  # Starlette types the base class
    app.add_exception_handler(RequestValidationError, _validation_error)  # type: ignore[arg-type]  # likewise
    app.add_exception_handler(HTTPException, partial(_http_error, _by_guess(paths)))
    app.add_exception_handler(ClientDisconnect, _disconnected)


OTHERWISE: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Any other error, in the same shape.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}
"""OpenAPI `responses` of every call."""


def documented(
    *errors: type[ServiceError], headers: Mapping[str, Any] | None = None
) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI `responses` for the errors that a route may answer with, with an example of each.

    Args:
        errors: Kinds of error, each with its status.
        headers: Headers that the route sends with all of them.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        response = responses.setdefault(
            error.status.value,
            {
                "description": error.status.phrase,
                "headers": dict(headers or {}),
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        example = Problem.of_kind(error.status, error.code, error.title, error.example)
        response["content"][MEDIA_TYPE]["examples"][error.code] = {"value": example.model_dump()}
        if issubclass(error, RetryableError):
            response["headers"]["Retry-After"] = {
                "description": "Seconds to wait before the next try.",
                "schema": {"type": "integer"},
            }
        if issubclass(error, UnauthorizedError):
            response["headers"]["WWW-Authenticate"] = {"description": "`Bearer`.", "schema": {"type": "string"}}
    return responses


def invalid_request(error: RequestValidationError) -> Response:
    """Return the answer to a request that does not fit the schema."""
    first = error.errors()[0]
    part, *names = map(str, first["loc"])
    name = ".".join(names)
    received: object = first.get("input")
    match part, first["type"]:
        case "header", _:
            expected = "seconds in `X-Request-Timeout`, such as 2.5"  # the only header that is read
        case _, "extra_forbidden":
            expected, received = f"{' or '.join(f'`{option}`' for option in sorted(IN_QUERY))} in the {part}", name
        case _, "bool_parsing":
            expected = f"`{name}` to be true or false"
        case _:
            expected = f"`{name}` to be {first.get('ctx', {}).get('expected', 'valid')}"
    return refusal(InvalidRequestError(f"Expected {expected}, received {reprlib.repr(received)}."))


async def _service_error(_: Request, error: ServiceError) -> Response:
    return refusal(error)


async def _validation_error(_: Request, error: RequestValidationError) -> Response:
    return invalid_request(error)


def _by_guess(paths: Sequence[str]) -> dict[str, str]:
    """Return the paths by what a client may guess: the whole path, or only its first or last part."""
    guesses = {path: path for path in paths}
    for path in paths:
        parts = path.split("/")
        guesses.setdefault(f"/{parts[1]}", path)
        guesses.setdefault(f"/{parts[-1]}", path)
    return guesses


def _such_as(path: str, by_guess: Mapping[str, str]) -> str:
    """Suggest a path for a wrong one, by all of it or, below a prefix of the client's own, by its last part."""
    wanted = path.rstrip("/").lower()
    for guess in (wanted, wanted[wanted.rfind("/") :]):
        if similar := get_close_matches(guess, by_guess, 1, SIMILAR):
            return f", such as {by_guess[similar[0]]}"
    return ""


async def _http_error(by_guess: Mapping[str, str], request: Request, error: HTTPException) -> Response:
    """Answer what the router itself refuses: an unknown path, or a method that a path does not have."""
    status = HTTPStatus(error.status_code)
    code = status.phrase.lower().replace(" ", "_")
    headers = dict(error.headers or {})
    path = request.url.path[:SHOWN_PATH]
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"  # which `app.http.head` answers
    if "Allow" in headers:
        msg = f"Expected {headers['Allow'].replace(', ', ' or ')} {path}, received {request.method} {path}."
        if header(request.scope, b"access-control-request-method"):
            msg += " A page of another origin may call it once FASHION_CORS_ORIGINS lists that origin."
    else:
        known = f"a path that the service has{_such_as(path, by_guess)}"
        msg = f"Expected {known}, received {request.method} {path}. All calls are listed at /docs."
    problem = Problem.of_kind(status, code, status.phrase, msg)
    if prefers_html(request.headers.get("accept", "")):
        return ProblemResponse(problem, headers | HEADERS_OF_MADE, lost_page(request.url.path, msg))
    return ProblemResponse(problem, headers)


def unheard(scope: Scope) -> Response:
    """Return the response that ASGI requires although the client is gone, which is no failure of ours."""
    scope[TRACE].is_heard = False
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def _disconnected(request: Request, _: Exception) -> Response:
    return unheard(request.scope)
