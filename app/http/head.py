"""Answers HEAD like GET, and neither with a range."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """Pure ASGI: HEAD gets the same headers as GET (RFC 9110, 9.3.2), and both ignore `Range` (14.2).

    Starlette answers a bad range in plain text, which is not the one shape of errors, and no file here is large.
    uvicorn looks at its own scope, so it still leaves out the body of HEAD.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Take the app that answers."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] in {"GET", "HEAD"}:
            if scope["method"] == "HEAD":
                send = _at_once(send)
            headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
            scope = {**scope, "method": "GET", "headers": headers}
        await self.app(scope, receive, send)


def _at_once(send: Send) -> Send:
    """Send nothing before the body has ended: whoever has the head of an answer to HEAD may send the next request."""
    head: list[Message] = []

    async def send_at_the_end(message: Message) -> None:
        if message["type"] == "http.response.start":
            head.append(message)
        elif not message.get("more_body", False):
            await send(head.pop())
            await send({"type": "http.response.body"})

    return send_at_the_end
