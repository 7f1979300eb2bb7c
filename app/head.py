"""Answers HEAD as GET."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    """Pure ASGI: the same headers as for GET (RFC 9110, 9.3.2), of the whole and not of a range (14.2).

    uvicorn, which looks at its own scope, leaves out the body.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Take the app that answers."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
            scope = {**scope, "method": "GET", "headers": headers}
        await self.app(scope, receive, send)
