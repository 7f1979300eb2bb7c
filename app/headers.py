"""Looks headers up: Starlette's `Headers`, made anew for each request, take as long as reading a small body."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first value of a request's header, None where it has none.

    Args:
        scope: Of an HTTP request (ASGI, HTTP connection scope).
        name: In small letters.
    """
    for one, value in scope["headers"]:
        if one == name:
            return str(value, "latin-1")
    return None


def media_type(content_type: str) -> str:
    """Return what a `Content-Type` names, in small letters and without parameters."""
    return content_type.partition(";")[0].strip().lower()
