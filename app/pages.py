"""Answers with pages, under headers that keep each to itself."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope

WEB = Path(__file__).parent / "web"
"""What is served below `/web`."""

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",  # what the model saw comes as a data URI, what was chosen as a blob
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in _POLICY.items()),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",  # ask whether it has changed: no script of yesterday under the page of today
}
HEADERS_OF_MADE = HEADERS | {"Vary": "Accept"}
"""Of a page made for this request: the same address has JSON for others."""


class WebFiles(StaticFiles):
    """The files of the pages, under the same headers."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401  whatever Starlette passes
        """Return a file, or 304 where the browser has it."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        del response.headers["Accept-Ranges"]  # which Starlette promises, but `app.head` answers with the whole
        return response


FILES = WebFiles(directory=WEB)


def static(name: str, scope: Scope) -> Response:
    """Return a page that is a file of `app/web`, or 304 where the browser has it."""
    return FILES.file_response(WEB / name, (WEB / name).stat(), scope)


def page(html: str) -> HTMLResponse:
    """Return a page made for this request."""
    return HTMLResponse(html, headers=HEADERS_OF_MADE)


def html_head(title: str, root: str = "") -> str:
    """Write what stands before the body of a page made for a request.

    Args:
        title: Of the page.
        root: Leads up to the service's root.
    """
    return f"""<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>{title} · Fashion-MNIST</title>
  <link rel="icon" href="{root}web/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="{root}web/style.css">
</head>"""


def lost_page(path: str, detail: str) -> str:
    """Write what a person reads at an address that has no page.

    Args:
        path: Of the request. The links lead up from there, since a proxy may serve all of this below a path of its own.
        detail: What was expected and received.
    """
    root = "../" * (path.count("/") - 1) or "./"
    return f"""{html_head("No page here", root)}
<body>
  <header class="top"><a class="brand" href="{root}">Fashion-MNIST</a></header>
  <main>
    <div class="intro">
      <h1>There is no page here</h1>
      <p>{escape(detail)}</p>
      <p>Go to <a href="{root}">the start</a>, the <a href="{root}model">model card</a> or the
        <a href="{root}docs">API</a>.</p>
    </div>
  </main>
</body>
</html>
"""


def prefers_html(accept: str) -> bool:
    """Tell by an `Accept` header whether HTML is more welcome than JSON; when in doubt, it is not.

    Source:
        RFC 9110, section 12.5.1: the most specific range counts, with its weight.
    """
    weights: dict[str, float] = {}
    for part in accept.lower().split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        weights[media_range] = next((_weight(one[2:]) for one in parameters if one.startswith("q=")), 1.0)
    return _welcome("text/html", weights) > _welcome("application/json", weights)


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _welcome(media_type: str, weights: dict[str, float]) -> float:
    ranges = media_type, media_type.partition("/")[0] + "/*", "*/*"
    return next((weights[one] for one in ranges if one in weights), 0.0)
