"""Builds requests, reads answers and decides when to retry, without any I/O.

Each of the two clients adds a way to send and a way to wait.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from app.errors import (
    BodyTooSlowError,
    PayloadTooLargeError,
    RequestTimeoutError,
    RetryableError,
    ServiceError,
    UnreachableError,
    kinds,
)
from app.schemas import (
    PROBLEM_URN,
    BatchItem,
    BatchPrediction,
    ClassName,
    Limits,
    ModelInformation,
    Prediction,
    Problem,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    from httpx._client import UseClientDefault

    from app.schemas import Conversion

    Form: TypeAlias = list[tuple[str, tuple[str, bytes, str]]]
    """Pictures as httpx takes them in `files`: the field, then name, bytes and media type."""

Shape = TypeVar("Shape")
Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)

URL_VARIABLE = "FASHION_URL"
KEY_VARIABLE = "FASHION_API_KEY"
DEFAULT_URL = "http://localhost:8000"
TIMEOUT_SECONDS = 35.0
"""Five more than the service allows itself by default, so that its own answer comes first."""

RETRIES = 4
FIRST_WAIT_SECONDS = 0.1
"""Wait before the second try if the service does not say how long to wait; doubled before each further try."""
LEAST_WAIT_SECONDS = 1
"""Shortest wait that the service asks for, and the one assumed for a picture of a batch, which comes without any."""
LONGEST_WAIT_SECONDS = 30.0
"""If the service asks for a longer wait, the caller gets the error instead of a retry."""
A_DAY = 86400.0
"""Longest wait that is reported; a longer one is cut to this."""

MOST_PORT = 65535

BYTES = "application/octet-stream"
"""Media type of every picture, since its bytes decide its format; 784 bytes may be raw pixels."""

KINDS = {kind.code: kind for kind in kinds()}
"""The exception for each problem code."""

# The first two come from proxies: too many requests in a period, and no service behind the proxy yet.
_PASSING = {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE}
_OF_PROXIES: dict[int, type[ServiceError | UnreachableError]] = {
    kind.status: kind for kind in (PayloadTooLargeError, RequestTimeoutError)
}
"""Refusals by a proxy that concern this picture alone; all its other answers mean that no service is behind it."""
_CONNECTION_FAILED = (httpx.ConnectTimeout, httpx.NetworkError, httpx.RemoteProtocolError)
_STATUSES = {status.value for status in HTTPStatus}
_OWN_MACHINE = {"localhost", "127.0.0.1", "::1"}


@dataclass
class Run:
    """What the requests of one call of the client share.

    Attributes:
        is_slow: Whether a request arrived too slowly. From then on each is sent alone, so as not to share the uplink.
        has_ended: Set once nobody waits for their answers. Only threads need it, since tasks are cancelled.
    """

    is_slow: bool = False
    has_ended: threading.Event = field(default_factory=threading.Event)


class _OfModel(BaseModel):
    """The part of `GET /model` that a client of any version can read."""

    limits: Limits


PREDICTION = TypeAdapter(Prediction)
BATCH = TypeAdapter(BatchPrediction)
CLASSES = TypeAdapter(tuple[ClassName, ...])
MODEL = TypeAdapter(ModelInformation)
LIMITS = TypeAdapter(_OfModel)


def service_url(url: str | None) -> tuple[str, httpx.BasicAuth | UseClientDefault]:
    """Return the address of the service: the one given, that in `FASHION_URL`, or the one that `make serve` listens at.

    Returns:
        The address, and separately the name and password that it may contain, since httpx writes addresses to the log.

    Raises:
        httpx.InvalidURL: It cannot be the address of a service.
    """
    given = (url or os.environ.get(URL_VARIABLE) or DEFAULT_URL).strip().rstrip("/")
    address = re.sub(r"^(\w+://)?[^/?#]*@", r"\1", given)
    if fault := _fault(address):
        hidden = re.sub(r"^(\w+://)?\S*@", r"\1", given)
        if hidden != address:
            fault = "in a name or a password / is written as %2F, ? as %3F, and # as %23"
        msg = f"expected the address of a service as {DEFAULT_URL}, found {hidden}: {fault}"
        raise httpx.InvalidURL(msg)
    if address == given:
        return address, httpx.USE_CLIENT_DEFAULT
    asked = httpx.URL(given)
    return address, httpx.BasicAuth(asked.username, asked.password)


def key_headers(api_key: str | None) -> dict[str, str]:
    """Return the header for the given key, or for that in `FASHION_API_KEY`; empty if there is none.

    Raises:
        ValueError: The key cannot be sent in a header. The message does not repeat it.
    """
    key = (api_key or os.environ.get(KEY_VARIABLE) or "").strip()  # a file or a shell may have added a line break
    if not (key.isascii() and key.isprintable()):
        msg = "expected a key of printable ASCII characters, found others in it"
        raise ValueError(msg)
    # Not as `Authorization`: a gateway in front may ask for credentials of its own there.
    return {"X-API-Key": key} if key else {}


def http_client(kind: type[Http], url: str) -> Http:
    """Make an httpx client for an address.

    Raises:
        UnreachableError: The environment names a proxy or certificates that cannot be used.
    """
    trust = httpx.URL(url).host not in _OWN_MACHINE  # a proxy that the environment names cannot reach this machine
    try:
        return kind(trust_env=trust)
    except OSError as error:
        msg = f"Expected a readable file of certificates in SSL_CERT_FILE, found another: {error}"
        raise UnreachableError(msg) from error
    except (httpx.InvalidURL, ValueError, ImportError) as error:  # the last if a package for SOCKS is missing
        msg = f"Expected proxies that httpx can use in HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, found another: {error}"
        raise UnreachableError(msg) from error


def query(conversion: Conversion, *, preview: bool) -> dict[str, str]:
    """Return the query parameters that go with a picture."""
    return {"conversion": conversion} | ({"preview": "true"} if preview else {})


def form(pictures: Iterable[tuple[str, bytes]]) -> Form:
    """Return names and bytes as httpx takes them in `files`."""
    return [("files", (name or "picture", data, BYTES)) for name, data in pictures]


def read_batch(response: httpx.Response, count: int) -> tuple[BatchItem, ...]:
    """Read the answer to a batch of `count` pictures, each of which has a result or a problem.

    Raises:
        ServiceError: It is a problem.
        UnreachableError: It is not an answer of the service.
    """
    items = read(response, BATCH).results
    told = sum((item.result is None) != (item.problem is None) for item in items)
    if not told == len(items) == count:
        msg = f"Expected a result or a problem for each of {count} pictures from {response.url}, received {told} of "
        msg += f"{len(items)}."
        raise UnreachableError(msg)
    return items


def read(response: httpx.Response, shape: TypeAdapter[Shape]) -> Shape:
    """Read an answer.

    Raises:
        ServiceError: It is a problem.
        UnreachableError: It is not an answer of the service.
    """
    fault: ValidationError | None = None
    try:
        if response.is_success:
            return shape.validate_json(response.content)
        problem = Problem.model_validate_json(response.content)
        if problem.type.startswith(PROBLEM_URN):
            error = error_of(problem, retry_after_seconds(response) or LEAST_WAIT_SECONDS)
            error.request_id = response.headers.get("X-Request-ID")
            raise error
    except ValidationError as error:
        fault = error
    kind = response.headers.get("Content-Type", "unknown")
    place = _place(fault) if response.is_success and fault else ""
    msg = (
        f"Expected an answer of the Fashion-MNIST service from {response.url}, received "
        f"{response.status_code} {response.reason_phrase} of type {kind}{place}."
    )
    if response.has_redirect_location:
        msg += f" It points to {response.headers['Location']}."
    raise _OF_PROXIES.get(response.status_code, UnreachableError)(msg) from fault


def _place(fault: ValidationError) -> str:
    """Name the first part of an answer that is not valid, if the answer has parts at all."""
    first = fault.errors()[0]
    return f", with {'.'.join(map(str, first['loc']))}: {first['msg']}" if first["loc"] else ""


def error_of(problem: Problem, wait_seconds: float) -> ServiceError:
    """Return the exception for a problem; one of the base class for a kind that only a newer service knows."""
    kind = KINDS.get(problem.code, ServiceError)
    if issubclass(kind, RetryableError):
        return kind(problem.detail, ceil(wait_seconds))
    error = kind(problem.detail)
    error.code, error.title = problem.code, problem.title
    if problem.status in _STATUSES:
        error.status = HTTPStatus(problem.status)
    return error


def failure(
    error: httpx.RequestError | UnicodeError, url: str, timeout_seconds: float
) -> ServiceError | UnreachableError:
    """Return the exception to raise when no answer came."""
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, _CONNECTION_FAILED):
        return RequestTimeoutError(f"Expected {url} to go on within {timeout_seconds:g} seconds, received nothing.")
    reason = str(error).rstrip(".") or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        advice = "Name what to trust in SSL_CERT_FILE or, for this machine, in an httpx client passed as `http`."
    elif "[SSL" in reason:
        advice = f"If it speaks plain HTTP, ask http://{url.partition('://')[2]}."
    else:
        advice = "Check the address, or start one with `make serve`; `python -m app predict` needs none."
    msg = f"Expected the Fashion-MNIST service at {url}, received no answer: {reason}. {advice}"
    return UnreachableError(msg)


def retry_after_seconds(response: httpx.Response) -> float | None:
    """Read `Retry-After`, which is a number of seconds or, from some proxies, a date; None without a valid one."""
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return min(float(value), A_DAY)
    try:
        return min(max(0.0, parsedate_to_datetime(value).timestamp() - time.time()), A_DAY)
    except (ValueError, OverflowError):
        return None


def is_too_slow(response: httpx.Response) -> bool:
    """Tell whether the request arrived too slowly, according to the service or a proxy in front of it."""
    return response.status_code == httpx.codes.REQUEST_TIMEOUT or (
        response.status_code == BodyTooSlowError.status and BodyTooSlowError.code.encode() in response.content
    )


def wait_after_answer(response: httpx.Response, tries: int, retries: int, *, alone: bool) -> float | None:
    """Return how many seconds to wait before the request is sent again, or None if the answer is final.

    Sending again is safe: a prediction changes nothing.

    Args:
        response: The answer.
        tries: How often the request was sent.
        retries: How often it may be sent again.
        alone: Whether nothing else was being sent. A request that was too slow even so is too large for the uplink.
    """
    if tries <= retries and is_too_slow(response) and not alone:
        return 0.0
    if tries > retries or response.status_code not in _PASSING:
        return None
    asked = retry_after_seconds(response) or 0.0
    return max(_longer(asked), backoff_seconds(tries)) if asked <= LONGEST_WAIT_SECONDS else None


def wait_after_failure(error: httpx.RequestError | UnicodeError, tries: int, retries: int) -> float | None:
    """Return the same where no answer came; a timeout once connected is final, since a retry would add to the load."""
    return backoff_seconds(tries) if tries <= retries and isinstance(error, _CONNECTION_FAILED) else None


def backoff_seconds(tries: int) -> float:
    """Return a wait that doubles with each try."""
    return min(LONGEST_WAIT_SECONDS, _longer(FIRST_WAIT_SECONDS * 2.0 ** (tries - 1)))


def _longer(seconds: float) -> float:
    """Lengthen a wait at random by up to a quarter, so that clients do not all return at once."""
    return seconds * random.uniform(1, 1.25)  # noqa: S311  no secret


def _fault(address: str) -> str | None:
    """Say why an address cannot be that of a service, or which was probably meant; None if it can be."""
    try:
        url = httpx.URL(address)
        host = url.host
    except (httpx.InvalidURL, ValueError) as error:  # the latter for a name in invalid Punycode
        return str(error)
    if url.scheme not in {"http", "https"}:
        rest = re.sub(r"^(\w+:)?/+", "", address)
        return f"did you mean http://{rest}?"
    if not host:
        return "it names no machine"
    if (url.port or 0) > MOST_PORT:
        return f"a port is at most {MOST_PORT}"
    if (call := re.search(r"((?<!/)/predict(/batch)?)?([?#].*)?$", address)) and call[0]:
        return f"the client adds the path of a call itself; did you mean {address[: call.start()]}?"
    return None
