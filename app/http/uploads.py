"""Reads pictures from a request's body, counting bytes as they arrive."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from starlette.requests import ClientDisconnect

from app.errors import InvalidRequestError, OverloadedError, PayloadTooLargeError
from app.http.forms import MULTIPART, Form, Upload
from app.http.headers import header, media_type
from app.settings import FRAMING_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

FILE_FIELD = "file"
FILES_FIELD = "files"
PIECE_BYTES = 128
"""What each piece of a body counts in addition to its bytes, so that tiny pieces are no way around a limit."""


class _Limit(NamedTuple):
    """How large a body may be, apart from its framing, and what to advise if it is larger."""

    max_bytes: int
    framing: int = 0
    advice: str = "Send a smaller picture; the model looks at 28 x 28."

    def refuse(self, received: str) -> NoReturn:
        """Refuse a larger body."""
        msg = f"Expected at most {self.max_bytes} bytes, received {received}. {self.advice}"
        raise PayloadTooLargeError(msg)


@dataclass(slots=True)
class BodyBudget:
    """The bytes of all bodies that are held, from their arrival until their answer, and their limit."""

    limit: int
    held_bytes: int = 0


class Held:
    """One request's share of the budget: bytes that arrived, not those announced, which cost the sender nothing."""

    __slots__ = ("_budget", "_bytes")

    def __init__(self, budget: BodyBudget) -> None:
        """Begin with nothing."""
        self._budget = budget
        self._bytes = 0

    def release(self) -> None:
        """Give everything back."""
        self._budget.held_bytes -= self._bytes
        self._bytes = 0

    def require_room(self, count: int) -> None:
        """Refuse bytes that there is no room for.

        Raises:
            OverloadedError: All bodies together would exceed the limit.
        """
        if self._budget.held_bytes + count > self._budget.limit:
            msg = f"Expected bodies of at most {self._budget.limit} bytes at a time, received more. Try again later."
            raise OverloadedError(msg, 1)

    def take(self, count: int) -> None:
        """Count a piece that has arrived.

        Raises:
            OverloadedError: There is no room for it.
        """
        self.require_room(count)
        self._budget.held_bytes += count
        self._bytes += count


async def read_upload(request: Request, max_bytes: int, held: Held) -> Upload:
    """Read one picture: a multipart body with the field `file`, or the body itself.

    Raises:
        OverloadedError: There is no room for it.
        PayloadTooLargeError: More than `max_bytes` were announced or arrived.
        InvalidRequestError: A multipart body is malformed or has no such field.
    """
    content_type = header(request.scope, b"content-type") or ""
    if (kind := media_type(content_type)) != MULTIPART:
        chunks: list[bytes] = []
        await _receive(request, _Limit(max_bytes), held, chunks.append)
        return Upload(b"".join(chunks), kind)
    form = Form(content_type, FILE_FIELD, max_files=1)
    with closing(form):
        await _receive(request, _Limit(max_bytes, FRAMING_BYTES), held, form.write)
    (upload,) = form.uploads()
    require_size(upload.data, max_bytes)
    return upload


async def read_uploads(request: Request, max_files: int, max_bytes: int, held: Held) -> list[Upload]:
    """Read many pictures from the fields `files` of a multipart body, in order.

    Raises:
        OverloadedError: There is no room for them.
        PayloadTooLargeError: More than `max_bytes` were announced or arrived.
        InvalidRequestError: The body is not multipart, is malformed, has no such field, or more than `max_files`.
    """
    content_type = header(request.scope, b"content-type") or ""
    if (kind := media_type(content_type)) != MULTIPART:
        msg = (
            f"Expected a {MULTIPART} body with one or more fields `{FILES_FIELD}`, received {kind or 'no type'}. Send "
        )
        msg += f"one as `curl -F {FILES_FIELD}=@a.jpg -F {FILES_FIELD}=@b.jpg` does, or a single picture to /predict."
        raise InvalidRequestError(msg)
    form = Form(content_type, FILES_FIELD, max_files)
    with closing(form):
        await _receive(request, _Limit(max_bytes, advice="Send fewer pictures at once."), held, form.write)
    return form.uploads()


def require_size(data: bytes, max_bytes: int) -> None:
    """Refuse a picture of more than `max_bytes`.

    Raises:
        PayloadTooLargeError: It has more.
    """
    if len(data) > max_bytes:
        _Limit(max_bytes).refuse("a larger file")


async def _receive(request: Request, limit: _Limit, held: Held, take: Callable[[bytes], object]) -> None:
    """Pass on the body's chunks; refuse by `Content-Length` before the first, and by counting after each.

    `app.http.protocol` limits how long this may take.

    Raises:
        OverloadedError: There is no room for it.
        PayloadTooLargeError: More bytes than the limit plus the framing were announced or arrived.
        ClientDisconnect: The client hung up before the end.
    """
    announced = header(request.scope, b"content-length") or ""
    if announced.isdecimal():  # and at most 64 bits, as httptools requires
        if int(announced) > limit.max_bytes + limit.framing:
            limit.refuse(announced)
        held.require_room(int(announced))
    received, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        received += len(chunk)
        if received > limit.max_bytes + limit.framing:
            limit.refuse("more")
        held.take(len(chunk) + PIECE_BYTES)
        take(chunk)
