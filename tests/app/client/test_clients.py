"""Both clients against the real service, and against services that behave badly."""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import re
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.responses import HTMLResponse, JSONResponse, Response

from app import errors
from app.client import (
    AsyncFashionClient,
    BodyTooSlowError,
    Conversion,
    FashionClient,
    ImageTooLargeError,
    InvalidImageError,
    InvalidRequestError,
    NotReadyError,
    OverloadedError,
    PayloadTooLargeError,
    RequestTimeoutError,
    RequestTooSlowError,
    RetryableError,
    ServiceError,
    UnauthorizedError,
    UnreachableError,
    UnsupportedMediaTypeError,
    exchange,
)
from app.client.__main__ import main
from app.client.pictures import several
from app.http.problems import ProblemResponse
from app.imaging.conversion import Mode
from app.main import create_app
from app.schemas import Limits, problem_of
from app.settings import Settings, read_settings
from tests.app.client.conftest import ask_blocking, ask_on_a_loop
from tests.conftest import encoded, listening
from tests.fakes import FirstPixelClassifier, ScriptedService, tagged_image
from training.data import LABELS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.types import Receive, Scope, Send

    from app.outcomes import Outcome
    from tests.app.client.conftest import Ask

USAGE = Path(__file__).parents[3] / "docs/usage.md"
BOOT = encoded(tagged_image(9))
LIMITS = {name: value for name, value in Settings().model_dump().items() if name in Limits.model_fields} | {
    "formats": []
}
ONE_A_BATCH = JSONResponse({"limits": LIMITS | {"max_batch_files": 1}})
MANY_A_BATCH = JSONResponse({"limits": LIMITS | {"max_batch_files": 64}})


def refusal(retry_after: str | None = "0", error: ServiceError | None = None) -> Response:
    problem = problem_of(error or OverloadedError("Too much waits. Try again.", 1))
    return ProblemResponse(problem, {} if retry_after is None else {"Retry-After": retry_after})


def items(*errors: ServiceError) -> Response:
    results = [{"filename": "", "problem": problem_of(error).model_dump()} for error in errors]
    return JSONResponse({"results": results})


class NarrowUplink:
    """ASGI app that refuses pictures sent at the same time as too slow, and any other as damaged.

    Attributes:
        beside: For each picture, in order of arrival, whether it overlapped with another.
    """

    def __init__(self) -> None:
        self.beside: list[bool] = []
        self._open: set[int] = set()
        self._is_crowded = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] == "GET":
            await ONE_A_BATCH(scope, receive, send)
            return
        number = len(self.beside)
        self.beside.append(False)
        self._open.add(number)
        if len(self._open) > 1:
            self._is_crowded.set()
            for one in self._open:
                self.beside[one] = True
        await self._is_crowded.wait()  # the first waits for the second
        await asyncio.sleep(0.1)
        self._open.remove(number)
        is_alone = not self.beside[number]
        response = items(InvalidImageError("-")) if is_alone else refusal(None, BodyTooSlowError("Too slow."))
        await response(scope, receive, send)


@pytest.fixture
def answer(url: str) -> Response:
    """Return the response of the service to a picture of a boot."""
    return JSONResponse(httpx.post(f"{url}/predict", content=BOOT).json())


# --- Requests and answers ------------------------------------------------------------------------------------------


def test_a_picture_may_be_a_path_bytes_a_file_an_image_or_an_array(ask: Ask, url: str, tmp_path: Path) -> None:
    (tmp_path / "boot.png").write_bytes(BOOT)
    image = Image.fromarray(tagged_image(9))
    pictures = (
        tmp_path / "boot.png",
        str(tmp_path / "boot.png"),
        BOOT,
        io.BytesIO(BOOT),
        image,
        tagged_image(9),
        tagged_image(9).tobytes(),
    )
    for picture in pictures:
        assert ask(url, methodcaller("predict", picture)).prediction.label == "Ankle boot"


def test_the_prediction_has_every_field_that_the_service_sends(ask: Ask, url: str) -> None:
    prediction = ask(url, lambda client: client.predict(BOOT, conversion="none", preview=True))
    assert (
        prediction.model_dump(mode="json", exclude_none=True)
        == httpx.post(f"{url}/predict?conversion=none&preview=true", content=BOOT).json()
    )
    assert prediction.conversion.mode == "none"
    assert prediction.preview.startswith("data:image/png")


def test_a_batch_gives_a_result_or_a_problem_for_each_picture_in_order(ask: Ask, url: str, tmp_path: Path) -> None:
    (tmp_path / "boot.png").write_bytes(BOOT)
    items = ask(url, lambda client: client.predict_batch([tmp_path / "boot.png", b"a boot", encoded(tagged_image(3))]))
    assert [item.filename for item in items] == ["boot.png", "picture", "picture"]
    assert [item.result and item.result.prediction.label for item in items] == ["Ankle boot", None, "Dress"]
    assert items[1].problem.code == "unsupported_media_type"


def test_no_pictures_have_no_answers(ask: Ask, url: str) -> None:
    assert ask(url, lambda client: client.predict_batch([])) == ()
    assert ask(url, lambda client: client.predict_many([])) == []


@pytest.mark.parametrize("call", ["predict_batch", "predict_many"])
def test_one_picture_in_place_of_several_is_refused(ask: Ask, url: str, call: str) -> None:
    with pytest.raises(TypeError, match=r"expected several pictures, found one of type bytes\. Put it into a list"):
        ask(url, methodcaller(call, BOOT))


@pytest.mark.parametrize(
    "picture",
    [
        "boot.png",
        Path("boot.png"),
        BOOT,
        io.BytesIO(BOOT),
        Image.new("L", (9, 9)),
        np.zeros((9, 9), np.uint8),
        np.zeros((9, 9, 1), np.uint8),
        np.zeros((9, 9, 3), np.uint8),
        np.zeros((9, 9, 4), np.uint8),
    ],
    ids=["name", "path", "bytes", "file", "image", "grey", "one channel", "RGB", "RGBA"],
)
def test_one_picture_of_any_kind_is_not_taken_apart(picture: Any) -> None:  # noqa: ANN401  each kind
    with pytest.raises(TypeError, match=r"expected several pictures, found one of type \w+\. Put it into a list"):
        several(picture)


@pytest.mark.parametrize("shape", [(2, 28, 28), (2, 28, 28, 3)])
def test_an_array_of_several_pictures_is_taken_apart(ask: Ask, url: str, shape: tuple[int, ...]) -> None:
    pictures = np.zeros(shape, np.uint8)
    assert len(ask(url, lambda client: client.predict_batch(pictures))) == 2
    assert len(ask(url, lambda client: client.predict_many(pictures))) == 2


def test_an_error_names_the_request_as_the_log_of_the_service_does(ask: Ask, url: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError) as caught:
        ask(url, lambda client: client.predict(b"a boot"))
    assert re.fullmatch(r"[0-9a-f]{32}", caught.value.request_id or "")


def test_784_bytes_are_raw_pixels_in_a_batch_too(ask: Ask, url: str) -> None:
    (item,) = ask(url, lambda client: client.predict_batch([tagged_image(9).tobytes()]))
    assert item.result.image.format == "RAW"


def test_the_classes_and_the_model_are_returned(ask: Ask, url: str) -> None:
    assert [one.label for one in ask(url, lambda client: client.classes())] == list(LABELS)
    assert ask(url, lambda client: client.model()).card.name == "fake"


def test_the_conversions_of_the_client_are_those_of_the_service() -> None:
    assert get_args(Conversion) == tuple(Mode)


# --- Many pictures -------------------------------------------------------------------------------------------------


def test_many_pictures_come_back_in_order_each_with_its_own_answer_or_error(ask: Ask, url: str, tmp_path: Path) -> None:
    pictures: list[bytes | Path] = [encoded(tagged_image(number % 10)) for number in range(150)]
    pictures[7], pictures[70] = b"a boot", tmp_path / "missing.png"
    outcomes = ask(url, lambda client: client.predict_many(pictures))
    assert [outcome.picture for outcome in outcomes] == pictures
    assert isinstance(outcomes[7].error, UnsupportedMediaTypeError)
    assert isinstance(outcomes[70].error, FileNotFoundError)
    for number, outcome in enumerate(outcomes):
        assert (outcome.prediction is None) == (number in {7, 70}) == (outcome.error is not None)
        assert outcome.prediction is None or outcome.prediction.prediction.class_id == number % 10


def test_many_pictures_may_be_one_array(ask: Ask, url: str) -> None:
    images = np.stack([tagged_image(number) for number in (9, 3, 8)])
    outcomes = ask(url, lambda client: client.predict_many(images))
    assert [outcome.prediction.prediction.class_id for outcome in outcomes] == [9, 3, 8]


def test_many_pictures_come_with_a_preview_if_asked_for(ask: Ask, url: str) -> None:
    for preview in (True, False):
        call = methodcaller("predict_many", [BOOT], conversion="none", preview=preview)
        (outcome,) = ask(url, call)
        assert (outcome.prediction.preview is not None) == preview
        assert outcome.prediction.conversion.mode == "none"


def test_predict_many_raises_at_what_is_no_picture(ask: Ask, url: str) -> None:
    with pytest.raises(TypeError, match="found NoneType"):
        ask(url, lambda client: client.predict_many([BOOT, None]))


def test_many_pictures_may_come_in_any_order_and_none_is_missing(ask: Ask, url: str) -> None:
    pictures = [encoded(tagged_image(number % 10)) for number in range(150)]
    outcomes = ask(url, lambda client: client.predict_many(iter(pictures), ordered=False, at_once=2))
    assert sorted(outcome.picture for outcome in outcomes) == sorted(pictures)
    assert all(outcome.prediction.prediction.class_id == pictures.index(outcome.picture) for outcome in outcomes)


@pytest.mark.parametrize("picture", [BOOT, np.zeros((28, 28), np.uint8)], ids=["bytes", "array"])
def test_pictures_may_come_from_the_event_loop(url: str, picture: Any) -> None:  # noqa: ANN401  each kind
    async def pictures() -> AsyncIterator[Any]:
        for _ in range(50):
            await asyncio.to_thread(int)
            yield picture

    async def run() -> list[Outcome[Any]]:
        async with AsyncFashionClient(url) as client:
            return [one async for one in client.predict_many(pictures())]

    outcomes = asyncio.run(run())
    assert [outcome.picture is picture for outcome in outcomes] == [True] * 50
    assert all(outcome.prediction for outcome in outcomes)


def test_stopping_early_ends_a_source_on_the_event_loop(url: str) -> None:
    has_ended = False

    async def pictures() -> AsyncIterator[bytes]:
        nonlocal has_ended
        try:
            for _ in range(100):
                yield BOOT
            await asyncio.Future()
        finally:
            has_ended = True

    async def run() -> int:
        async with AsyncFashionClient(url) as client:
            async with aclosing(client.predict_many(pictures())) as outcomes:
                assert (await anext(outcomes)).prediction
            return len(asyncio.all_tasks())

    assert asyncio.run(run()) == 1
    assert has_ended


def test_a_file_of_an_asynchronous_library_is_one_picture(url: str) -> None:
    class File:
        async def read(self) -> bytes:
            return BOOT

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield BOOT

    async def run() -> None:
        async with AsyncFashionClient(url) as client:
            async for _ in client.predict_many(cast("Any", File())):
                pass

    with pytest.raises(TypeError, match="expected several pictures, found one of type File"):
        asyncio.run(run())


def test_no_more_requests_are_open_than_asked_for(ask: Ask) -> None:
    service = ScriptedService(ONE_A_BATCH, items(InvalidImageError("Damaged.")), delay_seconds=0.3)
    with listening(service) as url:
        outcomes = ask(url, lambda client: client.predict_many([BOOT] * 6, at_once=3))
    assert [type(outcome.error) for outcome in outcomes] == [InvalidImageError] * 6
    assert len(service.times) == 1 + 6
    assert service.most_at_once == 3


def test_pictures_are_read_lazily(url: str) -> None:
    read = 0

    def pictures() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield BOOT

    with FashionClient(url) as client:
        outcomes = client.predict_many(pictures(), at_once=1)
        assert next(outcomes).prediction
        assert read <= 4 * 32
        outcomes.close()


def test_stopping_early_leaves_no_task_behind(url: str) -> None:
    async def stop_after_one() -> int:
        async with AsyncFashionClient(url) as client:
            async with aclosing(client.predict_many([BOOT] * 500)) as outcomes:
                async for outcome in outcomes:
                    assert outcome.prediction
                    break
            return len(asyncio.all_tasks())

    assert asyncio.run(stop_after_one()) == 1


def test_the_refusal_of_a_batch_is_the_error_of_each_of_its_pictures(ask: Ask) -> None:
    service = ScriptedService(MANY_A_BATCH, refusal(error=PayloadTooLargeError("Too large.")))
    with listening(service) as url:
        outcomes = ask(url, lambda client: client.predict_many([b"one", b"two"]))
    assert [type(outcome.error) for outcome in outcomes] == [PayloadTooLargeError] * 2
    assert len(service.times) == 2


def test_a_picture_that_a_proxy_refuses_does_not_affect_the_others(ask: Ask) -> None:
    refusals = [HTMLResponse("<h1>Too large</h1>", 413), HTMLResponse("<h1>Gateway time-out</h1>", 504)]
    service = ScriptedService(ONE_A_BATCH, *refusals, items(InvalidImageError("-")))
    with listening(service) as url:
        outcomes = ask(url, lambda client: client.predict_many([b"one", b"two", b"three"], at_once=1))
    kinds = [type(outcome.error) for outcome in outcomes]
    assert kinds == [PayloadTooLargeError, RequestTimeoutError, InvalidImageError]
    assert "413 Request Entity Too Large of type text/html" in str(outcomes[0].error)


@pytest.mark.parametrize("count", [0, 2])
def test_an_answer_for_the_wrong_number_of_pictures_is_rejected(ask: Ask, count: int) -> None:
    answer = items(*[InvalidImageError("-")] * count)
    for call, script in (("predict_many", [ONE_A_BATCH, answer]), ("predict_batch", [answer])):
        with (
            listening(ScriptedService(*script)) as url,
            pytest.raises(UnreachableError, match=f"for each of 1 pictures .+, received {count} of {count}"),
        ):
            ask(url, methodcaller(call, [b"one"]))


def test_no_more_pictures_are_sent_once_the_options_are_refused(ask: Ask, url: str) -> None:
    drawn = iter([BOOT] * 10_000)
    with pytest.raises(InvalidRequestError, match="foto"):
        ask(url, lambda client: client.predict_many(drawn, conversion=cast("Conversion", "foto")))
    assert len(list(drawn)) > 9_000


def test_after_a_refusal_as_too_slow_pictures_are_sent_one_at_a_time(ask: Ask) -> None:
    service = NarrowUplink()
    with listening(service) as url:
        outcomes = ask(url, lambda client: client.predict_many([BOOT] * 12))
    assert [type(outcome.error) for outcome in outcomes] == [InvalidImageError] * 12
    crowded = sum(service.beside)
    assert 2 <= crowded <= 4  # no more were being sent when the first was refused
    assert len(service.beside) == crowded + 12


def test_no_more_pictures_are_sent_once_the_key_is_refused(ask: Ask) -> None:
    service = ScriptedService(ONE_A_BATCH, refusal(None, UnauthorizedError("Expected a key.")))
    with listening(service) as url, pytest.raises(UnauthorizedError, match=r"Expected a key\."):
        ask(url, lambda client: client.predict_many([BOOT] * 50, at_once=1))
    assert len(service.times) <= 1 + 2  # until the refusal is read, the thread sends the batches that it was given


def test_stopping_early_does_not_wait_for_a_retry() -> None:
    service = ScriptedService(ONE_A_BATCH, items(InvalidImageError("-")), refusal("20"))
    with listening(service) as url, FashionClient(url) as client:
        outcomes = client.predict_many([BOOT] * 9, at_once=2)
        next(outcomes)
        started = time.monotonic()
        outcomes.close()
    assert time.monotonic() - started < 10


def test_a_service_that_goes_away_ends_many_pictures_with_one_error(ask: Ask) -> None:
    with (
        listening(ScriptedService(ONE_A_BATCH, HTMLResponse("moved", 404))) as url,
        pytest.raises(UnreachableError, match="received 404 Not Found of type text/html"),
    ):
        ask(url, lambda client: client.predict_many([BOOT] * 20))


# --- Failures and retries ------------------------------------------------------------------------------------------


def test_every_error_of_the_service_has_its_code_in_the_client() -> None:
    listed = set(re.findall(r"(\w+Error) +\d{3} (\w+)", errors.__doc__ or ""))
    assert {(kind.__name__, code) for code, kind in exchange.KINDS.items()} == listed


@pytest.mark.parametrize("kind", exchange.KINDS.values(), ids=exchange.KINDS)
def test_each_problem_raises_its_own_exception_with_all_that_is_known(kind: type[ServiceError]) -> None:
    error = kind("What to do next.", 1) if issubclass(kind, RetryableError) else kind("What to do next.")
    service = ScriptedService(refusal("7" if issubclass(kind, RetryableError) else None, error))
    with listening(service) as url, pytest.raises(ServiceError) as caught:
        ask_blocking(url, lambda client: client.predict(BOOT), retries=0)
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.status, caught.value.detail) == (kind.code, kind.status, "What to do next.")
    assert caught.value.retry_after_seconds == (7 if issubclass(kind, RetryableError) else None)
    assert len(service.times) == 1


@pytest.mark.parametrize(("status", "shown"), [(422, 422), (499, 500)])
def test_a_problem_of_a_newer_service_raises_the_base_class_with_all_that_is_known(
    ask: Ask, status: int, shown: int
) -> None:
    newer = {"type": "urn:problem:fashion-mnist:too_blurred", "code": "too_blurred", "title": "Too blurred"}
    problem = newer | {"status": status, "detail": "Expected a sharp picture."}
    with listening(ScriptedService(JSONResponse(problem, status))) as url, pytest.raises(ServiceError) as caught:
        ask(url, lambda client: client.predict(BOOT))
    error = caught.value
    assert type(error) is ServiceError
    assert (error.code, error.title, error.detail) == ("too_blurred", "Too blurred", "Expected a sharp picture.")
    assert error.status == shown
    assert ServiceError.code == "internal"


def test_an_unknown_path_raises_the_problem_that_the_service_reports(ask: Ask, url: str) -> None:
    with pytest.raises(ServiceError, match=r"received GET /v1/classes\.") as caught:
        ask(f"{url}/v1", methodcaller("classes"))
    assert (caught.value.code, caught.value.status) == ("not_found", 404)


def test_the_model_card_of_a_newer_service_may_have_more_fields(ask: Ask, url: str) -> None:
    newer = httpx.get(f"{url}/model").json()
    newer["card"]["training"]["carbon_grams"] = 12
    with listening(ScriptedService(JSONResponse(newer))) as newer_url:
        assert ask(newer_url, methodcaller("model")) == ask(url, methodcaller("model"))


@pytest.mark.parametrize(
    ("limits", "picture", "kind"),
    [
        ({"max_body_bytes": 10}, BOOT, PayloadTooLargeError),
        ({"max_image_pixels": 10}, BOOT, ImageTooLargeError),
        ({}, b"a boot", UnsupportedMediaTypeError),
        ({}, BOOT[:40], InvalidImageError),
        ({"request_timeout_seconds": 0.01}, BOOT, RequestTimeoutError),
    ],
    ids=["bytes", "pixels", "format", "damage", "deadline"],
)
def test_a_refusal_by_the_real_service_raises_its_own_exception(
    ask: Ask, limits: dict[str, float], picture: bytes, kind: type[ServiceError]
) -> None:
    classifier = FirstPixelClassifier(lambda _: time.sleep(0.1))
    with listening(create_app(Settings.model_validate(limits), classifier)) as url, pytest.raises(kind):
        ask(url, lambda client: client.predict(picture))


def test_a_service_that_refuses_twice_is_asked_a_third_time(ask: Ask, answer: Response) -> None:
    service = ScriptedService(refusal(), refusal(error=NotReadyError("Not yet.", 1)), answer)
    with listening(service) as url:
        assert ask(url, lambda client: client.predict(BOOT)).prediction.label == "Ankle boot"
    assert len(service.times) == 3


def test_a_retry_waits_as_long_as_the_service_asks_for(ask: Ask, answer: Response) -> None:
    service = ScriptedService(refusal("1"), answer)
    with listening(service) as url:
        ask(url, lambda client: client.predict(BOOT))
    assert service.times[1] - service.times[0] >= 1


@pytest.mark.parametrize("kind", [BodyTooSlowError, RequestTooSlowError])
def test_a_request_that_was_too_slow_although_alone_is_not_sent_again(ask: Ask, kind: type[ServiceError]) -> None:
    service = ScriptedService(refusal(None, kind("Too slow.")))
    with listening(service) as url, pytest.raises(kind):
        ask(url, lambda client: client.predict(BOOT))
    assert len(service.times) == 1


def test_there_are_no_more_retries_than_allowed(ask: Ask) -> None:
    service = ScriptedService(refusal())
    with listening(service) as url, pytest.raises(OverloadedError) as caught:
        ask(url, lambda client: client.predict(BOOT), retries=2)
    assert len(service.times) == 3
    assert caught.value.retry_after_seconds


def test_a_refusal_for_an_hour_is_raised_at_once(ask: Ask) -> None:
    service = ScriptedService(refusal("3600"))
    with listening(service) as url, pytest.raises(OverloadedError) as caught:
        ask(url, lambda client: client.predict(BOOT))
    assert len(service.times) == 1
    assert caught.value.retry_after_seconds == 3600


def test_a_429_or_502_from_a_proxy_is_retried(ask: Ask, answer: Response) -> None:
    service = ScriptedService(HTMLResponse("<h1>Bad Gateway</h1>", 502), HTMLResponse("<h1>Slower</h1>", 429), answer)
    with listening(service) as url:
        assert ask(url, lambda client: client.predict(BOOT)).prediction.label == "Ankle boot"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120),
        ("9" * 400, exchange.A_DAY),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", exchange.A_DAY),
        ("Fri, 31 Dec 9999 23:59:59 -9959", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str, expected: float | None) -> None:
    assert exchange.retry_after_seconds(httpx.Response(503, headers={"Retry-After": value})) == expected


def test_a_date_in_retry_after_becomes_seconds_from_now() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    seconds = exchange.retry_after_seconds(httpx.Response(503, headers={"Retry-After": date}))
    assert seconds == pytest.approx(100, abs=60)


@pytest.mark.parametrize("value", ["0", "2", "Fri, 31 Dec 1999 23:59:59 GMT"])
def test_a_wait_is_at_least_as_long_as_asked_for_and_varies_at_random(value: str) -> None:
    response = httpx.Response(503, headers={"Retry-After": value})
    waits = [exchange.wait_after_answer(response, tries, 8, alone=True) or 0.0 for tries in range(1, 8)]
    asked = float(value) if value.isdecimal() else 0.0
    assert all(wait >= max(asked, 0.1 * 2**number) for number, wait in enumerate(waits))
    assert len(set(waits)) == len(waits)


def test_waits_double_and_stay_bounded() -> None:
    waits = [exchange.backoff_seconds(tries) for tries in range(1, 30)]
    assert all(0.1 * 2**number <= wait <= 0.125 * 2**number for number, wait in enumerate(waits[:6]))
    assert max(waits) == exchange.LONGEST_WAIT_SECONDS
    assert len({exchange.backoff_seconds(1) for _ in range(20)}) > 1  # so that clients do not all return at once


def test_where_nothing_listens_it_retries_then_names_the_address(ask: Ask) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(UnreachableError, match=rf"service at {url}, received no answer"):
            ask(url, lambda client: client.predict(BOOT), retries=1)
    assert time.monotonic() - started >= 0.1


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
def test_a_host_name_that_cannot_exist_is_unreachable(ask: Ask, host: str) -> None:
    with pytest.raises(UnreachableError, match=rf"service at http://{host}, received no answer: .+"):
        ask(f"http://{host}", methodcaller("classes"), retries=0)


def test_a_tls_failure_suggests_plain_http_or_trusting_the_certificate(ask: Ask) -> None:
    with listening(ScriptedService(HTMLResponse(""))) as url:
        address = url.replace("http", "https")
        with pytest.raises(
            UnreachableError, match=rf"at {address}, .+ If it speaks plain HTTP, ask {url}\.$"
        ) as caught:
            ask(address, methodcaller("classes"), retries=0)
    assert "make serve" not in str(caught.value)
    distrust = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1)")
    assert "what to trust in SSL_CERT_FILE" in str(exchange.failure(distrust, "https://garments.example", 1))


def test_an_answer_that_cannot_be_decompressed_is_rejected(ask: Ask) -> None:
    spoilt = Response(b"no gzip", headers={"Content-Encoding": "gzip"})
    with listening(ScriptedService(spoilt)) as url, pytest.raises(UnreachableError, match=rf"at {url}, received no"):
        ask(url, methodcaller("classes"))


def test_a_request_cut_off_without_an_answer_is_sent_again(ask: Ask) -> None:
    def serve() -> None:
        for answer in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"):
            connection, _ = door.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as door:
        door.settimeout(10)
        served = threading.Thread(target=serve)
        served.start()
        assert ask(f"http://127.0.0.1:{door.getsockname()[1]}", methodcaller("classes")) == ()
        served.join()


def test_what_is_no_answer_of_the_service_is_rejected(ask: Ask) -> None:
    for response in (HTMLResponse("welcome"), JSONResponse({"detail": "Not Found"}, 404), JSONResponse([1])):
        with listening(ScriptedService(response)) as url, pytest.raises(UnreachableError, match=url):
            ask(url, lambda client: client.predict(BOOT))


def test_the_error_for_an_invalid_answer_names_its_invalid_part(ask: Ask, answer: Response) -> None:
    spoilt = JSONResponse(json.loads(bytes(answer.body)) | {"familiarity": 1.5})
    with (
        listening(ScriptedService(spoilt)) as url,
        pytest.raises(UnreachableError, match=r"200 OK of type \S+, with familiarity: Input should be .+ 1\.$"),
    ):
        ask(url, lambda client: client.predict(BOOT))


def test_an_answer_that_takes_too_long_is_a_timeout_and_is_not_retried(ask: Ask, answer: Response) -> None:
    async def hang(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001  ASGI's signature
        while (await receive())["type"] != "http.disconnect":
            pass

    service = ScriptedService(answer, hang)
    with listening(service) as url:
        ask(url, lambda client: client.predict(BOOT))  # waits for the service to start
        with pytest.raises(RequestTimeoutError, match=r"within 0\.5 seconds"):
            ask(url, lambda client: client.predict(BOOT), timeout_seconds=0.5)
    assert len(service.times) == 2


def test_waiting_for_one_of_the_client_s_own_connections_is_no_timeout(answer: Response) -> None:
    timeouts = []

    def answering(request: httpx.Request) -> httpx.Response:
        timeouts.append(request.extensions["timeout"])
        return httpx.Response(200, content=bytes(answer.body))

    async def run() -> None:
        async with AsyncFashionClient(http=httpx.AsyncClient(transport=transport), timeout_seconds=3) as client:
            await client.predict(BOOT)

    transport = httpx.MockTransport(answering)
    with FashionClient(http=httpx.Client(transport=transport), timeout_seconds=3) as client:
        client.predict(BOOT)
    asyncio.run(run())
    assert timeouts == [{"connect": 3, "read": 3, "write": 3, "pool": None}] * 2


def test_a_picture_that_cannot_be_read_raises_the_error_of_the_file(ask: Ask, url: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ask(url, lambda client: client.predict(tmp_path / "missing.png"))


# --- Addresses, proxies and credentials ----------------------------------------------------------------------------


def test_the_address_is_the_one_given_or_that_of_the_environment_or_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(exchange.URL_VARIABLE, raising=False)
    assert FashionClient().url == "http://localhost:8000"
    monkeypatch.setenv(exchange.URL_VARIABLE, "http://garments:80/")
    assert FashionClient().url == "http://garments:80"
    assert FashionClient("http://other").url == "http://other"
    assert read_settings({exchange.URL_VARIABLE: "http://garments"}) == Settings()


def test_a_proxy_of_the_environment_is_not_used_for_this_machine(
    ask: Ask, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert ask(url, lambda client: client.predict(BOOT)).prediction.label == "Ankle boot"


@pytest.mark.parametrize("proxy", ["socks://127.0.0.1:1", "socks5://127.0.0.1:1", "http://a:b"])
def test_a_proxy_that_cannot_be_used_is_reported(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    for kind in (FashionClient, AsyncFashionClient):
        with pytest.raises(UnreachableError, match=r"proxies that httpx can use in .+ALL_PROXY, found another: .+"):
            kind("https://garments.example")


@pytest.mark.parametrize("kind", [FashionClient, AsyncFashionClient])
def test_certificates_that_cannot_be_read_are_reported(
    kind: type[FashionClient | AsyncFashionClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("empty.pem", "gone.pem"):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
        with pytest.raises(UnreachableError, match=r"file of certificates in SSL_CERT_FILE, found another: .+"):
            kind("https://garments.example")


@pytest.mark.parametrize("kind", [FashionClient, AsyncFashionClient])
@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("localhost:8137", "did you mean http://localhost:8137?"),
        ("127.0.0.1:8137/", "did you mean http://127.0.0.1:8137?"),
        ("htp://garments.example", "did you mean http://garments.example?"),
        ("http://:8000", "it names no machine"),
        ("http://xn--a", "Codepoint U+0080"),
        ("http://127.0.0.1:65536", "a port is at most 65535"),
        ("http://localhost:8137/#", "the path of a call itself; did you mean http://localhost:8137/?"),
        ("http://localhost:8137/?preview=true", "the path of a call itself; did you mean http://localhost:8137/?"),
        ("http://localhost:8137/predict", "the path of a call itself; did you mean http://localhost:8137?"),
        ("http://predict.example/garments/predict/batch?preview=true", "did you mean http://predict.example/garments?"),
    ],
)
def test_the_error_for_an_invalid_address_suggests_what_was_meant(
    kind: type[FashionClient | AsyncFashionClient], address: str, fault: str
) -> None:
    with pytest.raises(httpx.InvalidURL) as caught:
        kind(address)
    assert str(caught.value).startswith("expected the address of a service as http://localhost:8000, found ")
    assert fault in str(caught.value)


def test_an_address_may_have_a_path_before_those_of_the_calls() -> None:
    for address in ("http://garments.example/predictions", "HTTPS://predict", "http://garments.example/~me@home"):
        assert FashionClient(f" {address}/\n").url == address


def test_an_httpx_client_may_bring_credentials(url: str) -> None:
    seen: list[str] = []
    hook = {"request": [lambda request: seen.append(request.headers["Authorization"])]}
    with FashionClient(url, http=httpx.Client(headers={"Authorization": "Bearer it"}, event_hooks=hook)) as client:
        client.predict(BOOT)
    assert seen == ["Bearer it"]


@pytest.mark.parametrize("kind", [FashionClient, AsyncFashionClient])
def test_the_options_are_those_that_the_documentation_lists(kind: type[FashionClient | AsyncFashionClient]) -> None:
    section = USAGE.read_text().split("## Python client")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([\w.]+)", section, re.MULTILINE))
    options = inspect.signature(kind).parameters
    assert list(rows) == list(options)
    for name in ("timeout_seconds", "retries"):
        assert rows[name] == str(options[name].default)


def test_an_httpx_client_may_set_a_deadline_for_every_request(url: str) -> None:
    with (
        FashionClient(url, http=httpx.Client(headers={"X-Request-Timeout": "0.000001"})) as client,
        pytest.raises(RequestTimeoutError, match="seconds, which have passed"),
    ):
        client.predict(BOOT)


def test_a_password_in_the_address_is_in_no_message(capsys: pytest.CaptureFixture[str]) -> None:
    address = "http://gateway:secret@127.0.0.1:1"
    with pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:1, received") as caught:
        FashionClient(address, retries=0).classes()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text="hello"))
    with pytest.raises(UnreachableError, match=r"from http://127\.0\.0\.1:1/classes, received") as foreign:
        FashionClient(address, http=httpx.Client(transport=transport)).classes()
    shown = ""
    for wrong in ("http://g:secret@a:b", "g:secret@127.0.0.1", f"{address}/predict", "http://g:a/secret@127.0.0.1"):
        with pytest.raises(SystemExit):
            main(["picture", "--url", wrong])
        shown = "".join(capsys.readouterr())
        assert "secret" not in shown
    assert "found http://127.0.0.1: in a name or a password / is written as %2F" in shown
    assert "secret" not in str(caught.value) + str(foreign.value)


def test_a_password_in_the_address_is_sent_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers["Authorization"])
        return httpx.Response(200, json=[])

    http = httpx.Client(transport=httpx.MockTransport(answer))
    with caplog.at_level("INFO"), FashionClient("http://gateway:s%2Fcret@127.0.0.1", http=http) as client:
        client.classes()
    assert sent == ["Basic " + b64encode(b"gateway:s/cret").decode()]
    assert "GET http://127.0.0.1/classes" in caplog.text
    assert "cret" not in caplog.text


@pytest.mark.parametrize("kind", [httpx.Client, httpx.AsyncClient])
def test_a_key_is_sent_but_not_to_the_target_of_a_redirect(
    kind: type[httpx.Client | httpx.AsyncClient],
) -> None:
    asked: list[tuple[str, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.host, request.headers.get("X-API-Key")))
        return httpx.Response(307, headers={"Location": "http://elsewhere/classes"})

    http = kind(transport=httpx.MockTransport(answer), follow_redirects=True)
    ask = ask_blocking if kind is httpx.Client else ask_on_a_loop
    with pytest.raises(UnreachableError, match=r"307 .+ It points to http://elsewhere/classes\."):
        ask("http://127.0.0.1", lambda client: client.classes(), api_key="key", http=http)
    assert asked == [("127.0.0.1", "key")]


@pytest.mark.parametrize("address", ["http://gateway:secret@127.0.0.1", "http://127.0.0.1"])
def test_a_key_is_sent_besides_the_credentials_for_a_gateway(address: str) -> None:
    seen: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200, json=[])

    http = httpx.Client(transport=httpx.MockTransport(answer), auth=None if "@" in address else ("gateway", "secret"))
    with FashionClient(address, api_key="of-the-service", http=http) as client:
        client.classes()
    (headers,) = seen
    assert headers["X-API-Key"] == "of-the-service"
    assert headers["Authorization"].startswith("Basic ")


def test_importing_the_client_imports_neither_the_server_nor_its_dependencies() -> None:
    code = (
        "import sys, app.client, app.client.__main__; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "httpx" in modules
    heavy = {"tensorflow", "cv2", "PIL", "fastapi", "starlette", "uvicorn", "structlog"}
    assert not heavy & set(modules)
