"""The direct path of `POST /predict`: compared with FastAPI's own, and under thousands of requests at a time."""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.schemas import Prediction, Problem
from app.settings import Settings
from app.telemetry.logs import configure_logging
from tests.app.test_routes import BOOT, photograph
from tests.conftest import encoded
from tests.fakes import FirstPixelClassifier, tagged_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from fastapi import FastAPI
    from httpx2 import Response
    from numpy.typing import NDArray
    from starlette.types import Message

LIMITS = Settings(max_body_bytes=20_000, max_image_pixels=500_000)
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "native": ("", {"content": BOOT}),
    "photograph": ("", {"content": encoded(photograph(), "JPEG")}),
    "preview": ("?preview=true", {"content": BOOT}),
    "everything asked for": ("?conversion=photo&preview=1", {"files": {"file": ("a.png", BOOT)}}),
    "an unknown option": ("?previw=true", {"content": BOOT}),
    "asked for twice": ("?conversion=photo&conversion=none", {"content": BOOT}),
    "an unknown conversion": ("?conversion=magic", {"content": BOOT}),
    "an empty conversion": ("?conversion=", {"content": BOOT}),
    "an unknown preview": ("?preview=perhaps&conversion=magic", {"content": BOOT}),
    "escaped and foreign": ("?conversion=%C3%A9&preview=%zz", {"content": BOOT}),
    "empty": ("", {"content": b""}),
    "text": ("", {"content": b"hello"}),
    "cut off": ("", {"content": BOOT[:-30]}),
    "too large": ("", {"content": bytes(20_001)}),
    "too many pixels": ("", {"content": encoded(photograph(2), "PNG")}),
    "no such field": ("", {"files": {"picture": BOOT}}),
    "a deadline": ("", {"content": BOOT, "headers": {"X-Request-Timeout": "2.5"}}),
    "a deadline too far": ("", {"content": BOOT, "headers": {"X-Request-Timeout": "1e6"}}),
    "a deadline that has passed": ("", {"content": BOOT, "headers": {"X-Request-Timeout": "1e-9"}}),
    "no deadline": ("", {"content": BOOT, "headers": {"X-Request-Timeout": ""}}),
    "a negative deadline": ("", {"content": BOOT, "headers": {"X-Request-Timeout": "-1"}}),
    "a deadline of no time": ("", {"content": BOOT, "headers": {"X-Request-Timeout": "0"}}),
    "an endless deadline": ("", {"content": BOOT, "headers": {"X-Request-Timeout": "inf"}}),
    "a deadline in words": ("?conversion=none", {"content": BOOT, "headers": {"X-Request-Timeout": "soon"}}),
    "two mistakes": ("?conversion=magic", {"content": BOOT, "headers": {"X-Request-Timeout": "nan"}}),
}


@pytest.fixture(scope="module")
def clients() -> Iterator[tuple[TestClient, TestClient]]:
    """Yield clients of the service, and of FastAPI without the direct path that `create_app` puts before it."""
    service, fastapi = (create_app(LIMITS, FirstPixelClassifier()) for _ in range(2))
    fastapi.user_middleware.remove(next(one for one in fastapi.user_middleware if "predictor" in one.kwargs))
    with TestClient(service) as direct, TestClient(fastapi) as usual:
        yield direct, usual


@pytest.fixture(scope="module")
def documented(clients: tuple[TestClient, TestClient]) -> dict[str, Any]:
    """Return the responses of `POST /predict` in the API document, by status."""
    return dict(clients[0].get("/openapi.json").json()["paths"]["/predict"]["post"]["responses"])


def ask(client: TestClient, name: str) -> Response:
    query, sent = REQUESTS[name]
    headers = {"X-Request-ID": "same", **sent.get("headers", {})}
    return client.post(f"/predict{query}", **{**sent, "headers": headers})


@pytest.mark.parametrize("name", REQUESTS)
def test_the_direct_path_answers_exactly_as_fastapi_would_and_as_the_api_document_says(
    name: str, clients: tuple[TestClient, TestClient], documented: dict[str, Any]
) -> None:
    direct, usual = (ask(client, name) for client in clients)
    assert direct.status_code == usual.status_code
    assert direct.content == usual.content
    assert direct.headers.keys() == usual.headers.keys()
    changing = {"server-timing"}
    assert all(usual.headers[key] == value for key, value in direct.headers.items() if key not in changing)
    model = Prediction if direct.status_code == 200 else Problem
    content = documented[str(direct.status_code)]["content"][direct.headers["content-type"]]
    assert content["schema"] == {"$ref": f"#/components/schemas/{model.__name__}"}
    model.model_validate_json(direct.content, strict=True, extra="forbid")


def test_an_answer_says_how_long_each_stage_took(clients: tuple[TestClient, TestClient]) -> None:
    stages, refused = (ask(clients[0], name).headers["server-timing"] for name in ("photograph", "text"))
    assert re.fullmatch(
        r"receive;dur=[\d.]+, decode;dur=[\d.]+, convert;dur=[\d.]+, "
        r'queue;dur=[\d.]+;desc="batch of 1", infer;dur=[\d.]+, serialise;dur=[\d.]+',
        stages,
    )
    assert max(float(value) for value in re.findall(r"dur=([\d.]+)", stages)) < 10_000
    assert re.fullmatch(r"receive;dur=[\d.]+, decode;dur=[\d.]+, queue;dur=[\d.]+", refused)


@pytest.mark.usefixtures("restored_logging")
@pytest.mark.parametrize("seconds", [0.0, math.inf], ids=["passes on the loop", "passes in the thread"])
def test_thousands_of_requests_get_their_own_answers_despite_cancellations_disconnects_and_failures(
    seconds: float,
) -> None:
    configure_logging(Settings(log_format="json"))
    chance = random.Random(0)

    def fail_sometimes(_: NDArray[np.uint8]) -> None:
        if chance.random() < 0.05:
            msg = "unlucky"
            raise RuntimeError(msg)

    async def run() -> list[str]:
        settings = Settings(max_pending_images=4000, max_queue_seconds=60)
        app = create_app(settings, FirstPixelClassifier(fail_sometimes, lambda _: seconds))
        return await asyncio.gather(*(outcome(app, number, chance) for number in range(3000)))

    outcomes = Counter(asyncio.run(run()))
    assert outcomes.keys() == {"own", "cancelled", "hung up", "failed"}
    assert outcomes["own"] > 500  # a failure is that of all in its pass, and a busy machine makes large ones


async def outcome(app: FastAPI, number: int, chance: random.Random) -> str:
    """Send a picture with one of 1,010 tags; the request may be cancelled, or its client may hang up halfway."""
    await asyncio.sleep(chance.random() * 0.3)
    class_id, percent = number % 10, number // 10 % 101
    body = tagged_image(class_id, percent).tobytes()
    hangs_up, is_cancelled = (chance.random() < share for share in (0.1, 0.2))
    messages: list[Message] = [{"type": "http.request", "body": body[:500], "more_body": True}]
    messages += [{"type": "http.disconnect"} if hangs_up else {"type": "http.request", "body": body[500:]}]
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0)
        return messages.pop(0) if messages else await asyncio.Future()  # connected but silent

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/octet-stream"), (b"x-request-id", str(number).encode())]
    scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": headers}
    task = asyncio.create_task(app(scope, receive, send))
    if is_cancelled:
        await asyncio.sleep(chance.random() * 0.002)
        task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    if not sent:
        return "cancelled"
    assert (b"x-request-id", str(number).encode()) in sent[0]["headers"]
    if sent[0]["status"] != 200:
        return {400: "hung up", 500: "failed", 503: "cancelled"}[sent[0]["status"]]
    answer = json.loads(sent[1]["body"])
    own = answer["prediction"]["class_id"] == class_id and answer["familiarity"] == pytest.approx(percent / 100)
    return "own" if own else "another's"
