"""Answers `POST /predict` without FastAPI's overhead, which exceeds decoding and converting a small picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from starlette.requests import ClientDisconnect, Request

from app.dependencies import TIMEOUT_HEADER, seconds_of, wishes_of
from app.http.headers import header
from app.http.problems import invalid_request, unheard
from app.routes import predict

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from app.predictor import Predictor
    from app.settings import Settings


class DirectPredict:
    """Pure ASGI around FastAPI: calls the same function that FastAPI documents and could call itself.

    A test sends the same requests both ways and compares the answers.
    """

    def __init__(self, app: ASGIApp, predictor: Predictor, settings: Settings) -> None:
        """Take the app that answers everything else, and what FastAPI would inject."""
        self._app = app
        self._predictor = predictor
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"] == "/predict" and scope["method"] == "POST":
            await self._predict(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            wishes = wishes_of(scope["query_string"])
            seconds = seconds_of(header(scope, TIMEOUT_HEADER))
            response = await predict(request, self._predictor, self._settings, wishes, seconds)
        except RequestValidationError as error:
            response = invalid_request(error)
        except ClientDisconnect:
            response = unheard(scope)
        await response(scope, receive, send)
