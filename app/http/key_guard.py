"""Requires an API key before a request reaches the application."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from app.errors import UnauthorizedError
from app.http.headers import header
from app.http.problems import documented, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from starlette.types import ASGIApp, Receive, Scope, Send

    from app.http.keys import Keys

OPEN_PATHS = ("/", "/docs", "/model", "/openapi.json")
OPEN_FOLDERS = ("/health/", "/web/", "/static-offline-docs/")
"""Paths that need no key: probes, and the pages with what they load and link to, since a link cannot send a key."""

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer KEY`"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "`X-API-Key: KEY`"},
}


class KeyGuard:
    """Pure ASGI around the whole service; added only if there are keys, so it costs nothing otherwise."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        """Take the app to guard, and the keys that it accepts."""
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it before its body is read."""
        if scope["type"] != "http" or _is_open(scope["path"]):
            await self._app(scope, receive, send)
        elif (owner := self._owner(scope)) is not None:
            structlog.contextvars.bind_contextvars(key=owner)
            await self._app(scope, receive, send)
        else:
            await _refuse(scope, receive, send)

    def _owner(self, scope: Scope) -> str | None:
        """Return the owner of the first known key: a gateway may have added a token of its own."""
        return next(filter(None, map(self._keys.owner, _keys_in(scope))), None)


def _keys_in(scope: Scope) -> Iterator[bytes]:
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            yield value
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            yield value[7:].strip()


def document(api: dict[str, Any]) -> None:
    """State in the API document which operations need a key, and how it is sent."""
    api["components"]["securitySchemes"] = _SCHEMES
    for path, operations in api["paths"].items():
        for operation in operations.values() if not _is_open(path) else ():
            operation["security"] = [{name: []} for name in _SCHEMES]
            operation["responses"] |= {str(status): one for status, one in documented(UnauthorizedError).items()}


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    msg = UnauthorizedError.example
    if any(_keys_in(scope)):
        msg = msg.replace("received none", "received one that is not known")
    elif header(scope, b"authorization"):
        msg = msg.replace("received none", "received an `Authorization` that is not `Bearer`")
    await refusal(UnauthorizedError(msg))(scope, receive, send)
