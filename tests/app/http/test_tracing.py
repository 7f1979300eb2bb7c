from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from app.http.tracing import RequestTracing
from app.settings import Settings
from app.stages import Stages
from app.telemetry.logs import configure_logging
from app.telemetry.metrics import Metrics
from app.telemetry.tally import Tally
from app.telemetry.trace import Trace
from tests.conftest import encoded
from tests.fakes import FirstPixelClassifier, make_card, tagged_image

if TYPE_CHECKING:
    import numpy as np
    from fastapi.testclient import TestClient
    from numpy.typing import NDArray
    from starlette.types import Message, Receive, Scope, Send


def test_an_id_that_the_client_chose_comes_back(client: TestClient) -> None:
    response = client.get("/classes", headers={"X-Request-ID": "order-66_a.b"})
    assert response.headers["x-request-id"] == "order-66_a.b"


@pytest.mark.parametrize("unsafe", ["", "two words", "x" * 129, "<script>", 'forged" status=200'])
def test_an_id_that_could_forge_a_log_line_is_replaced(client: TestClient, unsafe: str) -> None:
    given = client.get("/classes", headers={"X-Request-ID": unsafe}).headers["x-request-id"]
    assert given != unsafe
    assert len(given) == 32


@pytest.mark.usefixtures("restored_logging")
def test_a_request_is_logged_as_one_line_of_json_with_its_id_and_without_the_picture(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(Settings(log_format="json"))
    picture = encoded(tagged_image(9))
    client.post("/predict", content=picture, headers={"X-Request-ID": "abc"})
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    line = next(line for line in lines if line["event"] == "request")
    assert (line["method"], line["path"], line["status"], line["request_id"]) == ("POST", "/predict", 200, "abc")
    assert line["milliseconds"] > 0
    assert line.keys() == {
        *("event", "level", "logger", "timestamp"),
        *("method", "path", "status", "milliseconds", "request_id", "stages", "batch"),
    }
    assert line["stages"].keys() == {"receive", "decode", "convert", "queue", "infer", "serialise"}
    assert sum(line["stages"].values()) <= line["milliseconds"] + 0.01
    assert line["batch"] == 1


@pytest.mark.usefixtures("restored_logging")
def test_the_log_line_of_a_batch_says_what_was_refused_and_how_many_pictures_there_were(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(Settings(log_format="json"))
    files = [("files", (name, data)) for name, data in (("a.png", encoded(tagged_image(9))), ("b.png", b"no"))]
    client.post("/predict/batch", files=files)
    written = capsys.readouterr().err
    (line,) = (line for line in map(json.loads, written.splitlines()) if line["event"] == "request")
    assert (line["pictures"], line["batch"], line["problem"]) == (2, 1, "unsupported_media_type")
    assert line["stages"].keys() == {"receive", "decode", "convert", "queue", "infer", "serialise"}
    assert all(milliseconds <= line["milliseconds"] for milliseconds in line["stages"].values())
    assert line["stages"]["infer"] > 0
    assert ".png" not in written


@pytest.mark.usefixtures("restored_logging")
def test_the_log_line_of_a_batch_that_is_refused_whole_counts_no_pictures(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(Settings(log_format="json"))
    client.post("/predict/batch", content=b"no form")
    (line,) = (line for line in map(json.loads, capsys.readouterr().err.splitlines()) if line["event"] == "request")
    assert line["stages"].keys() == {"queue"}
    assert "pictures" not in line


@pytest.mark.usefixtures("restored_logging")
def test_what_is_logged_cannot_look_like_another_line_or_field(capsys: pytest.CaptureFixture[str]) -> None:
    forged = "/a\nforged status=200"
    for log_format in ("console", "json"):
        configure_logging(Settings(log_format=log_format))
        structlog.get_logger("app").info("request", path=forged, odd="\ud800", status=404)
        (line,) = capsys.readouterr().err.splitlines()
        assert "404" in line
        assert forged not in line


@pytest.mark.usefixtures("restored_logging")
def test_lines_of_other_loggers_have_the_same_format(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="json", log_level="warning"))
    logging.getLogger("uvicorn.error").info("too quiet")
    logging.getLogger("uvicorn.error").warning("loud %s", "enough")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "loud enough"


@pytest.mark.usefixtures("restored_logging")
def test_answers_are_sent_even_if_the_log_cannot_be_written(
    client: TestClient, classifier: FirstPixelClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: NDArray[np.uint8]) -> None:
        raise RuntimeError

    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        configure_logging(Settings(log_format="json"))
        assert client.post("/predict", content=encoded(tagged_image(9))).status_code == 200
        classifier.before = fail
        assert client.post("/predict", content=encoded(tagged_image(9))).json()["code"] == "internal"
        with suppress(OSError):
            full.close()  # it tries to write what is left


@pytest.mark.usefixtures("restored_logging")
def test_the_console_format_is_a_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="console"))
    logging.getLogger("app").info("hello")
    assert "Z [info] hello logger=app" in capsys.readouterr().err


@pytest.mark.usefixtures("restored_logging")
def test_a_failure_is_logged_with_its_traceback_and_without_the_picture(
    client: TestClient, capsys: pytest.CaptureFixture[str], classifier: FirstPixelClassifier
) -> None:
    def fail(_: NDArray[np.uint8]) -> None:
        msg = "a secret"
        raise RuntimeError(msg)

    classifier.before = fail
    for log_format in ("console", "json"):
        configure_logging(Settings(log_format=log_format))
        assert client.post("/predict", content=encoded(tagged_image(9))).status_code == 500
        logged = capsys.readouterr().err
        assert "Traceback" in logged
        assert "RuntimeError: a secret" in logged
        assert "array(" not in logged


@pytest.mark.usefixtures("restored_logging")
def test_probes_are_logged_only_at_debug_level(client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    lines = []
    for level in ("info", "debug"):
        configure_logging(Settings(log_format="json", log_level=level))
        client.get("/health/live")
        client.get("/metrics")
        written = map(json.loads, capsys.readouterr().err.splitlines())
        lines.append([line["path"] for line in written if line["event"] == "request"])
    assert lines == [[], ["/health/live", "/metrics"]]


def test_a_request_cut_short_by_a_stop_gets_a_problem() -> None:
    async def never(_: Scope, __: Receive, ___: Send) -> None:
        await asyncio.sleep(3600)

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        metrics = Metrics(Tally(), make_card(), Settings(), ["/predict"])
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
        request = asyncio.create_task(RequestTracing(never, metrics)(scope, _nothing, send))
        await asyncio.sleep(0)
        request.cancel()
        await asyncio.wait([request])

    asyncio.run(run())
    assert sent[0]["status"] == 503
    assert json.loads(sent[1]["body"])["code"] == "not_ready"


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


@pytest.mark.usefixtures("restored_logging")
def test_a_long_path_is_shortened_in_the_log(client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="json"))
    answer = client.get("/" + "x" * 20_000)
    assert len(answer.text) < 1000
    lines = [line for line in capsys.readouterr().err.splitlines() if json.loads(line)["event"] == "request"]
    assert [len(line) < 1000 for line in lines] == [True]


def test_a_failure_after_the_answer_began_is_left_to_the_server() -> None:
    async def fails_late(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        msg = "late"
        raise RuntimeError(msg)

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    metrics = Metrics(Tally(), make_card(), Settings(), ["/"])
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with pytest.raises(RuntimeError, match="late"):
        asyncio.run(RequestTracing(fails_late, metrics)(scope, receive, send))
    assert [message["type"] for message in sent] == ["http.response.start"]


def test_a_client_that_hangs_up_while_sending_is_not_a_failure(client: TestClient) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def call() -> None:
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [], "query_string": b""}
        await client.app(scope, receive, send)

    asyncio.run(call())
    assert sent[0]["status"] == 400


def test_a_trace_reports_the_longest_time_of_each_stage() -> None:
    slow, quick = Stages(), Stages()
    slow.seconds, quick.seconds = {"decode": 0.2, "infer": 0.001}, {"decode": 0.1, "infer": 0.003}
    assert Trace(stages=[slow, quick]).facts()["stages"] == {"decode": 200.0, "infer": 3.0}
