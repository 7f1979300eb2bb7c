"""Serves the web pages, with headers that isolate each of them."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope

WEB = Path(__file__).parents[1] / "web"
"""What is served below `/web`."""

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",  # the model's view is a data URI, the chosen picture a blob
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in _POLICY.items()),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",  # revalidate, so that no old script runs under a new page
}
HEADERS_OF_MADE = HEADERS | {"Vary": "Accept"}
"""Headers of a generated page: other clients get JSON from the same address."""


class WebFiles(StaticFiles):
    """The files of the pages, with the same headers."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401  whatever Starlette passes
        """Return a file, or 304 if the browser has it."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        del response.headers["Accept-Ranges"]  # Starlette offers ranges, but `app.http.head` ignores them
        return response


FILES = WebFiles(directory=WEB)


def static(name: str, scope: Scope) -> Response:
    """Return a page that is a file of `app/web`, or 304 if the browser has it."""
    return FILES.file_response(WEB / name, (WEB / name).stat(), scope)


def page(html: str) -> HTMLResponse:
    """Return a page generated for this request."""
    return HTMLResponse(html, headers=HEADERS_OF_MADE)


def html_head(title: str, root: str = "") -> str:
    """Write everything before the body of a generated page.

    Args:
        title: Title of the page.
        root: Relative path up to the service's root.
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
    """Write the page that a person sees at an unknown address.

    Args:
        path: Path of the request. Links lead up from it, since a proxy may serve everything below a path of its own.
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
    """Tell from an `Accept` header whether HTML is preferred over JSON; when in doubt, it is not.

    Source:
        RFC 9110, section 12.5.1: the most specific range applies, with its weight.
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
