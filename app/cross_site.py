"""Refuses what a browser sends on behalf of other sites' pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import CrossSiteError
from app.headers import header
from app.problems import refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection

    from starlette.types import ASGIApp, Receive, Scope, Send


class CrossSiteGuard:
    """Pure ASGI: without it any page that is open in a browser could put the service on that machine to work.

    It could not read the answers. Browsers say on whose behalf they ask, where the service is on their own machine or
    behind https; programs do not.

    Source:
        W3C Fetch Metadata, section 2.4.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        """Take what to guard, and the sites that may call."""
        self._app = app
        self._origins = {origin.encode() for origin in origins}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request, or refuse it before its body is read; no coroutine of its own, which would cost more."""
        foreign = (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and header(scope, b"sec-fetch-site") == "cross-site"
            and (header(scope, b"origin") or "").encode() not in self._origins
        )
        return (_refuse if foreign else self._app)(scope, receive, send)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    await refusal(CrossSiteError(CrossSiteError.example))(scope, receive, send)
