"""Reads pictures from a request's body, counting bytes as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from app.errors import InvalidRequestError, PayloadTooLargeError
from app.forms import MULTIPART, Form, Upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

FILE_FIELD = "file"
FILES_FIELD = "files"
FRAMING_BYTES = 64 * 1024
"""What boundaries and part headers may add to a multipart body."""


async def read_upload(request: Request, max_bytes: int) -> Upload:
    """Read one picture: a multipart body with the field `file`, or the body itself.

    Raises:
        PayloadTooLargeError: More than `max_bytes` were announced or came.
        InvalidRequestError: A multipart body is malformed or has no such field.
    """
    content_type = request.headers.get("content-type", "")
    if (media_type := _media_type(content_type)) != MULTIPART:
        chunks: list[bytes] = []
        await _receive(request, max_bytes, chunks.append)
        return Upload(b"".join(chunks), media_type)
    form = Form(content_type, FILE_FIELD, max_files=1)
    await _receive(request, max_bytes + FRAMING_BYTES, form.write)
    (upload,) = form.uploads()
    require_size(upload, max_bytes)
    return upload


async def read_uploads(request: Request, max_files: int, max_bytes: int) -> list[Upload]:
    """Read many pictures from the fields `files` of a multipart body, in order.

    Raises:
        PayloadTooLargeError: More than `max_bytes` were announced or came.
        InvalidRequestError: The body is not multipart, is malformed, has no such field, or more than `max_files`.
    """
    content_type = request.headers.get("content-type", "")
    if (media_type := _media_type(content_type)) != MULTIPART:
        msg = (
            f"Expected a {MULTIPART} body with one or more fields `{FILES_FIELD}`, received {media_type or 'no type'}."
        )
        raise InvalidRequestError(msg)
    form = Form(content_type, FILES_FIELD, max_files)
    await _receive(request, max_bytes, form.write)
    return form.uploads()


def require_size(upload: Upload, max_bytes: int) -> None:
    """Refuse a picture of more than `max_bytes`.

    Raises:
        PayloadTooLargeError: It has more.
    """
    if len(upload.data) > max_bytes:
        raise PayloadTooLargeError(_too_large(max_bytes, f"a file of {len(upload.data)}"))


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


async def _receive(request: Request, max_bytes: int, take: Callable[[bytes], object]) -> None:
    """Hand on the body's chunks; refuse by `Content-Length` before the first, by counting after each.

    Raises:
        PayloadTooLargeError: More than `max_bytes` were announced or came.
        ClientDisconnect: The client hung up before the end.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise PayloadTooLargeError(_too_large(max_bytes, announced))
    received, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        received += len(chunk)
        if received > max_bytes:
            raise PayloadTooLargeError(_too_large(max_bytes, "more"))
        take(chunk)


def _too_large(max_bytes: int, received: str) -> str:
    return (
        f"Expected at most {max_bytes} bytes, received {received}. Send a smaller picture; the model looks at 28 x 28."
    )
