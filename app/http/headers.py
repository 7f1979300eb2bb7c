"""Looks up headers: building Starlette's `Headers` for each request takes as long as reading a small body."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first value of a request's header, or None if it is absent.

    Args:
        scope: The scope of an HTTP request (ASGI, HTTP connection scope).
        name: The header's name in lower case.
    """
    for one, value in scope["headers"]:
        if one == name:
            return str(value, "latin-1")
    return None


def media_type(content_type: str) -> str:
    """Return the media type of a `Content-Type` header, in lower case and without parameters."""
    return content_type.partition(";")[0].strip().lower()
