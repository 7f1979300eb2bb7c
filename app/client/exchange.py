"""What is sent to the service, how its answers are read, and when to ask again; without any input or output.

Both clients are this with a way to send and a way to wait.
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
    """Pictures as httpx's `files`: field, and name, bytes, type."""

Shape = TypeVar("Shape")
Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)

URL_VARIABLE = "FASHION_URL"
KEY_VARIABLE = "FASHION_API_KEY"
DEFAULT_URL = "http://localhost:8000"
TIMEOUT_SECONDS = 35.0
"""Five more than the service gives itself, so that its own word comes first."""

RETRIES = 4
FIRST_WAIT_SECONDS = 0.1
"""Before the second try where nobody says how long to wait; doubled before each further one."""
LEAST_WAIT_SECONDS = 1
"""What the service asks for at least, and all that is known of one picture of a batch."""
LONGEST_WAIT_SECONDS = 30.0
"""Who is asked to come back later than that is told so instead."""
A_DAY = 86400.0
"""Longer is told as this."""

MOST_PORT = 65535

BYTES = "application/octet-stream"
"""Of every picture, since its bytes decide its format; 784 of them may be pixels."""

KINDS = {kind.code: kind for kind in kinds()}
"""The exception for each problem code."""

# The first two come from proxies: too many calls in a time, and no service behind it yet.
_PASSING = {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE}
_OF_PROXIES: dict[int, type[ServiceError | UnreachableError]] = {
    kind.status: kind for kind in (PayloadTooLargeError, RequestTimeoutError)
}
"""What a proxy refuses on its own is of this picture alone; whatever else it says, there is no service behind it."""
_CONNECTION_FAILED = (httpx.ConnectTimeout, httpx.NetworkError, httpx.RemoteProtocolError)
_STATUSES = {status.value for status in HTTPStatus}
_OWN_MACHINE = {"localhost", "127.0.0.1", "::1"}


@dataclass
class Run:
    """What the requests of one call of a client share.

    Attributes:
        is_slow: Whether one arrived too slowly. From then on each is sent alone, so as not to share the uplink.
        has_ended: Set once nobody waits for their answers; for threads, since a task is cancelled.
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
    """Return the address to ask: the one given, that of `FASHION_URL`, or the one that `make serve` listens at.

    Returns:
        The address, and apart from it the name and password that may stand in it: httpx writes addresses to the log.

    Raises:
        httpx.InvalidURL: It is no address of a service.
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
    """Return the header that carries the key given, or that of `FASHION_API_KEY`; nothing where there is none.

    Raises:
        ValueError: It cannot stand in a header. The message does not repeat it.
    """
    key = (api_key or os.environ.get(KEY_VARIABLE) or "").strip()  # a file or a shell may have added the end of a line
    if not (key.isascii() and key.isprintable()):
        msg = "expected a key of printable ASCII characters, found others in it"
        raise ValueError(msg)
    # Not as `Authorization`: a gateway in front may ask for credentials of its own there.
    return {"X-API-Key": key} if key else {}


def http_client(kind: type[Http], url: str) -> Http:
    """Make a client of httpx to ask an address with.

    Raises:
        UnreachableError: The environment names a proxy or certificates that cannot be used.
    """
    trust = httpx.URL(url).host not in _OWN_MACHINE  # which a proxy that the environment names cannot reach
    try:
        return kind(trust_env=trust)
    except OSError as error:
        msg = f"Expected a readable file of certificates in SSL_CERT_FILE, found another: {error}"
        raise UnreachableError(msg) from error
    except (httpx.InvalidURL, ValueError, ImportError) as error:  # the last where SOCKS needs a package
        msg = f"Expected proxies that httpx can use in HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, found another: {error}"
        raise UnreachableError(msg) from error


def query(conversion: Conversion, *, preview: bool) -> dict[str, str]:
    """Return what is asked for beside the picture."""
    return {"conversion": conversion} | ({"preview": "true"} if preview else {})


def form(pictures: Iterable[tuple[str, bytes]]) -> Form:
    """Return names and bytes as httpx's `files`."""
    return [("files", (name or "picture", data, BYTES)) for name, data in pictures]


def read_batch(response: httpx.Response, count: int) -> tuple[BatchItem, ...]:
    """Read the answer to so many pictures, of which each has a result or a problem.

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
            raise error_of(problem, retry_after_seconds(response) or LEAST_WAIT_SECONDS)
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
    """Name the first part of an answer that is not as it should be, where it has parts at all."""
    first = fault.errors()[0]
    return f", with {'.'.join(map(str, first['loc']))}: {first['msg']}" if first["loc"] else ""


def error_of(problem: Problem, wait_seconds: float) -> ServiceError:
    """Return the exception that a problem stands for: of the base class where a newer service knows more kinds."""
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
    """Return the exception for an answer that did not come."""
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
    """Read `Retry-After`, which is a number of seconds or, from some proxies, a date; None where there is none."""
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return min(float(value), A_DAY)
    try:
        return min(max(0.0, parsedate_to_datetime(value).timestamp() - time.time()), A_DAY)
    except (ValueError, OverflowError):
        return None


def is_too_slow(response: httpx.Response) -> bool:
    """Say whether the request arrived too slowly, by the service or by a proxy before it."""
    return response.status_code == httpx.codes.REQUEST_TIMEOUT or (
        response.status_code == BodyTooSlowError.status and BodyTooSlowError.code.encode() in response.content
    )


def wait_after_answer(response: httpx.Response, tries: int, retries: int, *, alone: bool) -> float | None:
    """Say how long to wait, in seconds, before the same is sent again, or None where the answer is final.

    Sending again is safe: a prediction changes nothing.

    Args:
        response: The answer.
        tries: How often the same was sent.
        retries: How often it may be sent again.
        alone: Whether nothing else was being sent. What was too slow even so is too large for the uplink.
    """
    if tries <= retries and is_too_slow(response) and not alone:
        return 0.0
    if tries > retries or response.status_code not in _PASSING:
        return None
    asked = retry_after_seconds(response) or 0.0
    return max(_longer(asked), backoff_seconds(tries)) if asked <= LONGEST_WAIT_SECONDS else None


def wait_after_failure(error: httpx.RequestError | UnicodeError, tries: int, retries: int) -> float | None:
    """Say the same where no answer came; what took too long is final, since more would make a busy service busier."""
    return backoff_seconds(tries) if tries <= retries and isinstance(error, _CONNECTION_FAILED) else None


def backoff_seconds(tries: int, first_seconds: float = FIRST_WAIT_SECONDS) -> float:
    """Return a wait that doubles with each try."""
    return min(LONGEST_WAIT_SECONDS, _longer(first_seconds * 2.0 ** (tries - 1)))


def _longer(seconds: float) -> float:
    """Return a wait that is up to a quarter longer, so that clients do not return as one."""
    return seconds * random.uniform(1, 1.25)  # noqa: S311  no secret


def _fault(address: str) -> str | None:
    """Say why an address is none of a service, and which was probably meant."""
    try:
        url = httpx.URL(address)
        host = url.host
    except (httpx.InvalidURL, ValueError) as error:  # the latter of a name in Punycode that stands for none
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
