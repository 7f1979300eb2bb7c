"""Refuses POST requests that a browser sends on behalf of other sites' pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import CrossSiteError
from app.http.headers import header
from app.http.problems import refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection

    from starlette.types import ASGIApp, Receive, Scope, Send


class CrossSiteGuard:
    """Pure ASGI: without it, any page open in a browser could put a service on the same machine to work.

    The page could not read the answers. Browsers say for which site they send a request if the service is on their own
    machine or behind HTTPS; other programs do not.

    Source:
        W3C Fetch Metadata, section 2.4.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        """Take the app to guard, and the origins whose pages may call it."""
        self._app = app
        self._origins = {origin.encode() for origin in origins}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request, or refuse it before its body is read; not itself a coroutine, which would cost more."""
        foreign = (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and header(scope, b"sec-fetch-site") == "cross-site"
            and (header(scope, b"origin") or "").encode() not in self._origins
        )
        return (_refuse if foreign else self._app)(scope, receive, send)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    await refusal(CrossSiteError(CrossSiteError.example))(scope, receive, send)
