"""Reads pictures from a request's body, counting bytes as they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.errors import InvalidRequestError, PayloadTooLargeError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

MULTIPART = "multipart/form-data"
FILE_FIELD = "file"
FILES_FIELD = "files"
FRAMING_BYTES = 64 * 1024
"""What boundaries and part headers may add to a multipart body."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One picture as sent; `media_type` and `filename` are what the sender says."""

    data: bytes
    media_type: str
    filename: str | None = None


async def read_upload(request: Request, max_bytes: int) -> Upload:
    """Read one picture: a multipart body with the field `file`, or the body itself.

    Raises:
        PayloadTooLargeError: More than `max_bytes` were announced or came.
        InvalidRequestError: A multipart body is malformed or has no such field.
    """
    media_type = _media_type(request)
    if media_type != MULTIPART:
        return Upload(b"".join([chunk async for chunk in _bounded(request, max_bytes)]), media_type)
    uploads = await _read_parts(request, FILE_FIELD, 1, max_bytes + FRAMING_BYTES)
    require_size(uploads[0], max_bytes)
    return uploads[0]


async def read_uploads(request: Request, max_files: int, max_bytes: int) -> list[Upload]:
    """Read many pictures from the fields `files` of a multipart body, in order.

    Raises:
        PayloadTooLargeError: More than `max_bytes` were announced or came.
        InvalidRequestError: The body is not multipart, is malformed, has no such field, or more than `max_files`.
    """
    if (media_type := _media_type(request)) != MULTIPART:
        msg = (
            f"Expected a {MULTIPART} body with one or more fields `{FILES_FIELD}`, received {media_type or 'no type'}."
        )
        raise InvalidRequestError(msg)
    return await _read_parts(request, FILES_FIELD, max_files, max_bytes)


def require_size(upload: Upload, max_bytes: int) -> None:
    """Refuse a picture of more than `max_bytes`.

    Raises:
        PayloadTooLargeError: It has more.
    """
    if len(upload.data) > max_bytes:
        raise PayloadTooLargeError(_too_large(max_bytes, f"a file of {len(upload.data)}"))


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _bounded(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield the body's chunks; refuse by `Content-Length` before the first, by counting after each."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise PayloadTooLargeError(_too_large(max_bytes, announced))
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise PayloadTooLargeError(_too_large(max_bytes, "more"))
        yield chunk


async def _read_parts(request: Request, field: str, max_files: int, max_bytes: int) -> list[Upload]:
    parser = MultiPartParser(request.headers, _bounded(request, max_bytes), max_files=max_files, max_fields=16)
    parser.spool_max_size = max_bytes  # pictures stay in memory: nothing that was sent is written to disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        msg = f"Expected a {MULTIPART} body of at most {max_files} files, received a bad one: {error.message}"
        raise InvalidRequestError(msg) from error
    try:
        files = [part for part in form.getlist(field) if isinstance(part, UploadFile)]
        if not files:
            fields = ", ".join(f"`{name}`" for name in form) or "none"
            msg = f"Expected a file in the field `{field}`, received the fields: {fields}."
            raise InvalidRequestError(msg)
        return [Upload(await part.read(), (part.content_type or "").lower(), part.filename) for part in files]
    finally:
        await form.close()


def _too_large(max_bytes: int, received: str) -> str:
    return (
        f"Expected at most {max_bytes} bytes, received {received}. Send a smaller picture; the model looks at 28 x 28."
    )
