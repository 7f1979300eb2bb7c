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

from app.logs import configure_logging
from app.main import create_app
from app.schemas import Prediction, Problem
from app.settings import Settings
from tests.app.test_routes import BOOT, photograph
from tests.conftest import encoded
from tests.fakes import FirstPixelClassifier, tagged_image

if TYPE_CHECKING:
    import numpy as np
    from fastapi import FastAPI
    from httpx2 import Response
    from numpy.typing import NDArray
    from starlette.types import Message

LIMITS = {"max_body_bytes": 20_000, "max_image_pixels": 500_000}
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


def both_ways(name: str) -> tuple[Response, Response]:
    """Ask the service, and then FastAPI alone, without the direct path that `create_app` puts before it."""
    query, sent = REQUESTS[name]
    answers = []
    for direct in (True, False):
        app = create_app(Settings.model_validate(LIMITS), FirstPixelClassifier())
        if not direct:
            app.user_middleware.remove(next(one for one in app.user_middleware if "predictor" in one.kwargs))
        with TestClient(app) as client:
            headers = {"X-Request-ID": "same", **sent.get("headers", {})}
            answers.append(client.post(f"/predict{query}", **{**sent, "headers": headers}))
    return answers[0], answers[1]


@pytest.mark.parametrize("name", REQUESTS)
def test_the_direct_path_answers_exactly_as_fastapi_would(name: str) -> None:
    direct, usual = both_ways(name)
    assert direct.status_code == usual.status_code
    assert direct.content == usual.content
    assert direct.headers.keys() == usual.headers.keys()
    changing = {"server-timing"}
    assert all(usual.headers[key] == value for key, value in direct.headers.items() if key not in changing)


@pytest.mark.parametrize("name", REQUESTS)
def test_every_answer_matches_the_model_that_the_api_document_names(name: str) -> None:
    answer, _ = both_ways(name)
    app = create_app(Settings(), FirstPixelClassifier())
    documented = app.openapi()["paths"]["/predict"]["post"]["responses"][str(answer.status_code)]
    model = Prediction if answer.status_code == 200 else Problem
    media_type = answer.headers["content-type"]
    assert documented["content"][media_type]["schema"] == {"$ref": f"#/components/schemas/{model.__name__}"}
    model.model_validate_json(answer.content, strict=True, extra="forbid")


def test_the_answer_to_a_picture_says_how_long_each_stage_took() -> None:
    stages = both_ways("photograph")[0].headers["server-timing"]
    assert re.fullmatch(
        r"receive;dur=[\d.]+, decode;dur=[\d.]+, convert;dur=[\d.]+, "
        r'queue;dur=[\d.]+;desc="batch of 1", infer;dur=[\d.]+, serialise;dur=[\d.]+',
        stages,
    )
    assert max(float(value) for value in re.findall(r"dur=([\d.]+)", stages)) < 10_000
    assert re.fullmatch(
        r"receive;dur=[\d.]+, decode;dur=[\d.]+, queue;dur=[\d.]+", both_ways("text")[0].headers["server-timing"]
    )


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
    assert outcomes["own"] > 1500


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
