"""Deadlines and disconnects, on both paths of `POST /predict` and in batches, as ASGI messages without HTTP."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from starlette.requests import ClientDisconnect

from app.admission import Admission
from app.errors import RequestTimeoutError
from app.http.patience import UNWATCHED_SECONDS, Deadline, Patience
from app.imaging.decode import decode
from app.main import create_app
from app.pacing import PAUSE_SECONDS, Pacing
from app.settings import Settings
from tests.app.test_admission import Clock
from tests.app.test_routes import BOOT, problem
from tests.conftest import encoded
from tests.fakes import FirstPixelClassifier, HeldClassifier, tagged_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from fastapi import FastAPI
    from numpy.typing import NDArray
    from starlette.types import Message

    from app.imaging.decode import Decoded

SLOW = encoded(Image.new("RGB", (40, 30), "red"))
"""Takes a thread as long to decode as a test wishes, see `slow_decoding`; other pictures are decoded at once."""

FOREVER = 3600.0


class Caller:
    """A client that sends one request, piece by piece, and may disconnect."""

    def __init__(self, app: FastAPI, path: str = "/predict", *, port: int | None = None, **headers: str) -> None:
        self.answer: list[Message] = []
        self._to_come: asyncio.Queue[Message] = asyncio.Queue()
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "client": port and ("127.0.0.1", port),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }
        self.request = asyncio.create_task(app(scope, self._to_come.get, self._send))

    def say(self, body: bytes, *, more: bool = False) -> None:
        self._to_come.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def is_heard(self) -> bool:
        return self._to_come.empty()

    def leave(self) -> None:
        self._to_come.put_nowait({"type": "http.disconnect"})

    async def _send(self, message: Message) -> None:
        self.answer.append(message)

    async def hear(self) -> tuple[int, Any]:
        """Wait for the end of the answer, and return its status and its body."""
        await self.request
        body = b"".join(message.get("body", b"") for message in self.answer)
        return self.answer[0]["status"], json.loads(body) if body else None


class AdjustableLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock a test may put forward."""

    ahead_seconds = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_seconds


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  nobody could set an event
            await asyncio.sleep(0.005)


def form(*pictures: bytes) -> tuple[bytes, str]:
    parts = (
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + picture + b"\r\n"
        for picture in pictures
    )
    return b"".join(parts) + b"--b--\r\n", "multipart/form-data; boundary=b"


@pytest.fixture(params=["direct", "FastAPI"])
def make_app(request: pytest.FixtureRequest) -> Callable[..., FastAPI]:
    def make(classifier: FirstPixelClassifier, **settings: float) -> FastAPI:
        app = create_app(Settings.model_validate(settings), classifier)
        if request.param == "FastAPI":
            app.user_middleware.remove(next(one for one in app.user_middleware if "predictor" in one.kwargs))
        return app

    return make


@pytest.fixture
def slow_decoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Yield an event until which the only thread of each service decodes `SLOW`."""
    let_go = threading.Event()

    def decode_slowly(data: bytes, *limits: Any) -> Decoded:  # noqa: ANN401  as they are
        assert data != SLOW or let_go.wait(60)
        return decode(data, *limits)

    monkeypatch.setattr("app.main.cores_of_a_worker", lambda _: 1)
    monkeypatch.setattr("app.predictor.decode", decode_slowly)
    yield let_go
    let_go.set()


@pytest.mark.parametrize("leaves", [True, False], ids=["gone", "too late"])
@pytest.mark.parametrize(("path", "is_form"), [("/predict", False), ("/predict", True), ("/predict/batch", True)])
def test_nothing_is_kept_of_a_body_that_gets_no_answer(
    make_app: Callable[..., FastAPI], path: str, *, is_form: bool, leaves: bool
) -> None:
    """A reference cycle would keep the body until the garbage collector runs, and no limit would count it."""
    begin, content_type = form(b"")[0].partition(b"\r\n--b--")[0], form()[1] if is_form else "image/png"
    begin = begin.replace(b"files", b"file") if path == "/predict" else begin

    async def run() -> int:
        app = make_app(FirstPixelClassifier(), request_timeout_seconds=FOREVER if leaves else 0.1)
        before = 0
        for turn in range(5):
            caller = Caller(app, path, content_type=content_type)
            caller.say((begin if is_form else b"") + bytes(2**20), more=True)
            await until(caller.is_heard)
            if leaves:
                caller.leave()
            await caller.request
            del caller
            if not turn:  # the first turn may load what stays in memory
                before, _ = tracemalloc.get_traced_memory()
        return tracemalloc.get_traced_memory()[0] - before

    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        assert asyncio.run(run()) < 2**20
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_the_deadline_counts_from_arrival_and_includes_receiving_the_body(
    make_app: Callable[..., FastAPI], path: str
) -> None:
    async def run() -> tuple[int, Any]:
        body, content_type = form(BOOT)
        caller = Caller(make_app(FirstPixelClassifier(), request_timeout_seconds=0.2), path, content_type=content_type)
        for place in range(10):
            caller.say(body[place : place + 1], more=True)
            await asyncio.sleep(0.05)
        return await caller.hear()

    status, answer = asyncio.run(run())
    assert (status, answer["code"]) == (504, "timeout")
    assert answer["detail"].startswith("Expected an answer within 0.2 seconds")


@pytest.mark.parametrize(
    ("wish", "limit", "kept"), [("0.2", FOREVER, "0.2"), ("1e9", 0.2, "0.2"), ("0.3", 0.2, "0.2"), ("0.1", 0.2, "0.1")]
)
def test_a_client_may_ask_for_less_time_than_the_limit(
    make_app: Callable[..., FastAPI], wish: str, limit: float, kept: str
) -> None:
    held = HeldClassifier()

    async def run() -> tuple[int, Any]:
        caller = Caller(make_app(held, request_timeout_seconds=limit), x_request_timeout=wish)
        caller.say(BOOT)
        answer = await caller.hear()
        held.release.set()
        return answer

    started = time.monotonic()
    status, answer = asyncio.run(run())
    assert float(kept) <= time.monotonic() - started < 30
    assert (status, answer["code"]) == (504, "timeout")
    advice = f"Try again later{f', or allow up to {limit:g} with X-Request-Timeout' if float(kept) < limit else ''}."
    assert answer["detail"] == f"Expected an answer within {kept} seconds, which have passed. {advice}"


@pytest.mark.parametrize("wish", ["0", "-1", "nan", "inf", "soon", ""])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_an_invalid_deadline_is_refused(client: TestClient, path: str, wish: str) -> None:
    response = client.post(path, headers={"X-Request-Timeout": wish}, files={"files": BOOT})
    assert problem(response) == (422, "invalid_request")
    assert response.json()["detail"] == f"Expected seconds in `X-Request-Timeout`, such as 2.5, received '{wish}'."


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_the_api_document_describes_the_deadline_header_and_the_timeout(client: TestClient, path: str) -> None:
    operation = client.get("/openapi.json").json()["paths"][path]["post"]
    (header,) = (one for one in operation["parameters"] if one["name"] == "x-request-timeout")
    assert (header["in"], header["required"]) == ("header", False)
    assert "504" in header["description"]
    assert "timeout" in operation["responses"]["504"]["content"]["application/problem+json"]["examples"]


def test_a_timeout_is_answered_even_while_a_thread_still_decodes(
    make_app: Callable[..., FastAPI], slow_decoding: threading.Event
) -> None:
    async def run() -> int:
        caller = Caller(make_app(FirstPixelClassifier(), request_timeout_seconds=0.05))
        caller.say(SLOW)
        status, _ = await caller.hear()
        assert not slow_decoding.is_set()
        return status

    assert asyncio.run(run()) == 504


@pytest.mark.parametrize("ends", ["leaves", "deadline"])
def test_a_picture_waiting_for_its_batch_is_dropped_when_its_client_leaves_or_its_deadline_passes(
    make_app: Callable[..., FastAPI], ends: str
) -> None:
    held = HeldClassifier()

    async def run() -> tuple[tuple[int, Any], tuple[int, Any]]:
        app = make_app(held)
        first = Caller(app)
        first.say(encoded(tagged_image(1)))
        await held.begins()
        dropped = Caller(app, x_request_timeout="0.2" if ends == "deadline" else "30")
        dropped.say(encoded(tagged_image(2)))
        await until(dropped.is_heard)
        await asyncio.sleep(UNWATCHED_SECONDS * 1.5)
        if ends == "leaves":
            dropped.leave()
        answer = await dropped.hear()  # at once, even though the first still waits
        assert not first.request.done()
        last = Caller(app)
        last.say(encoded(tagged_image(3)))
        await until(last.is_heard)
        held.release.set()
        await first.hear()
        return answer, await last.hear()

    dropped, last = asyncio.run(run())
    assert dropped[0] == {"leaves": 400, "deadline": 504}[ends]
    assert last[1]["prediction"]["class_id"] == 3
    assert held.seen_classes == [[1], [3]]


@pytest.mark.parametrize("leaves_after", [0.0, UNWATCHED_SECONDS * 1.5], ids=["at once", "watched"])
def test_a_picture_whose_client_left_while_it_waited_for_a_thread_frees_its_place(
    make_app: Callable[..., FastAPI], slow_decoding: threading.Event, leaves_after: float
) -> None:
    async def run() -> list[int]:
        app = make_app(FirstPixelClassifier(), max_pending_images=2)
        first, impatient = Caller(app), Caller(app)
        for caller in (first, impatient):
            caller.say(SLOW)
            await until(caller.is_heard)
        await asyncio.sleep(leaves_after)
        impatient.leave()
        left, _ = await impatient.hear()
        assert not first.request.done()
        late = Caller(app)  # there is a place for it
        late.say(BOOT)
        answered, _ = await late.hear()
        slow_decoding.set()
        return [left, answered, (await first.hear())[0]]

    assert asyncio.run(run()) == [400, 200, 200]


def test_pictures_of_a_batch_that_are_late_get_a_problem_and_the_others_their_answers() -> None:
    release = threading.Event()

    def hold_nines(images: NDArray[np.uint8]) -> None:
        if (images[:, 0, 0] == 9).any():
            assert release.wait(60)

    classifier, loop = FirstPixelClassifier(hold_nines), AdjustableLoop()

    async def run() -> tuple[int, Any]:
        app = create_app(Settings(max_forward_images=1), classifier)
        body, content_type = form(*(encoded(tagged_image(tag)) for tag in (1, 2, 9, 3)))
        caller = Caller(app, "/predict/batch", content_type=content_type)
        caller.say(body)
        await until(lambda: classifier.seen_classes == [[1], [2], [9]])
        loop.ahead_seconds = FOREVER
        answer = await caller.hear()
        release.set()
        return answer

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        status, answer = runner.run(run())
    assert status == 200
    codes = [item.get("problem", {}).get("code") for item in answer["results"]]
    assert codes == [None, None, "timeout", "timeout"]


def test_the_deadline_that_a_client_sets_applies_to_each_picture_of_a_batch() -> None:
    held = HeldClassifier()
    with TestClient(create_app(Settings(), held)) as client:
        response = client.post("/predict/batch", files=[("files", BOOT)] * 2, headers={"X-Request-Timeout": "0.2"})
        held.release.set()
    details = [item.get("problem", {}).get("detail", "") for item in response.json()["results"]]
    assert ["within 0.2 seconds" in detail for detail in details] == [True, True]


def test_pictures_of_batches_wait_for_places_while_single_requests_are_refused(
    make_app: Callable[..., FastAPI],
) -> None:
    held = HeldClassifier()
    app = make_app(held, max_pending_images=3, max_forward_images=1)

    def batch(*tags: int) -> tuple[bytes, Caller]:
        body, content_type = form(*(encoded(tagged_image(tag)) for tag in tags))
        return body, Caller(app, "/predict/batch", content_type=content_type)

    async def run() -> tuple[int, list[list[int]]]:
        (first_body, first), (second_body, second) = batch(0, 1, 2, 3, 4), batch(5, 6, 7)
        second.say(second_body[:10], more=True)  # before the first batch has taken all places
        await until(second.is_heard)
        first.say(first_body)
        await held.begins()
        refused, _ = await Caller(app).hear()
        second.say(second_body[10:])
        await until(second.is_heard)
        held.release.set()
        results = [(await caller.hear())[1]["results"] for caller in (first, second)]
        return refused, [[one["result"]["prediction"]["class_id"] for one in each] for each in results]

    assert asyncio.run(run()) == (503, [[0, 1, 2, 3, 4], [5, 6, 7]])
    assert held.seen_classes == [[tag] for tag in range(8)]  # first come, first served


def test_of_batches_that_arrive_at_once_those_behind_too_much_work_are_refused(
    make_app: Callable[..., FastAPI], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, held = Clock(), HeldClassifier()
    monkeypatch.setattr("app.predictor.Admission", partial(Admission, clock=clock))
    picture = encoded(tagged_image(1))
    body, content_type = form(*[picture] * 10)

    async def run() -> list[int]:
        app = make_app(held, max_queue_seconds=15)
        first = Caller(app)
        first.say(picture)
        await held.begins()
        clock.seconds += 1  # so a picture takes a second
        held.release.set()
        await first.hear()
        held.release.clear()
        batches = [Caller(app, "/predict/batch", content_type=content_type) for _ in range(4)]
        for batch in batches:
            batch.say(body[:10], more=True)
            await until(batch.is_heard)  # none is refused before its body is read
        for batch in batches:
            batch.say(body[10:])
        refused = [(await batch.hear())[0] for batch in batches[2:]]
        held.release.set()
        return [(await batch.hear())[0] for batch in batches[:2]] + refused

    assert asyncio.run(run()) == [200, 200, 503, 503]


def test_pictures_of_a_batch_that_find_no_place_in_time_are_late_and_take_none() -> None:
    held = HeldClassifier()
    with TestClient(create_app(Settings(max_pending_images=3, max_forward_images=1), held)) as client:
        late = client.post("/predict/batch", files=[("files", BOOT)] * 5, headers={"X-Request-Timeout": "0.2"})
        held.release.set()
        assert client.post("/predict", content=BOOT).status_code == 200
    assert [item.get("problem", {}).get("code") for item in late.json()["results"]] == ["timeout"] * 5


def test_a_batch_whose_client_leaves_is_dropped_whole() -> None:
    held = HeldClassifier()

    async def run() -> int:
        app = create_app(Settings(max_forward_images=1), held)
        body, content_type = form(*(encoded(tagged_image(tag)) for tag in range(4)))
        caller = Caller(app, "/predict/batch", content_type=content_type)
        caller.say(body)
        await held.begins()
        caller.leave()
        status, _ = await caller.hear()
        held.release.set()
        after = Caller(app)
        after.say(encoded(tagged_image(8)))
        assert (await after.hear())[0] == 200
        return status

    assert asyncio.run(run()) == 400
    assert held.seen_classes == [[0], [8]]


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_without_a_free_place_none_of_the_body_is_read(path: str, make_app: Callable[..., FastAPI]) -> None:
    held = HeldClassifier()

    async def run() -> tuple[int, Any]:
        app = make_app(held, max_pending_images=1)
        first = Caller(app)
        first.say(BOOT)
        await held.begins()
        refused = await Caller(app, path).hear()  # no byte of its body has arrived
        held.release.set()
        await first.hear()
        return refused

    status, answer = asyncio.run(run())
    assert (status, answer["code"]) == (503, "overloaded")


def test_a_slow_sender_holds_no_place(make_app: Callable[..., FastAPI]) -> None:
    async def run() -> list[int]:
        app = make_app(FirstPixelClassifier(), max_pending_images=1)
        slow, quick = Caller(app), Caller(app)
        slow.say(BOOT[:10], more=True)
        await until(slow.is_heard)
        quick.say(BOOT)
        first = await quick.hear()
        slow.say(BOOT[10:])
        return [first[0], (await slow.hear())[0]]

    assert asyncio.run(run()) == [200, 200]


@pytest.mark.parametrize("is_freed", [True, False])
def test_a_client_that_retries_at_once_is_held_back_until_the_time_it_was_told(
    make_app: Callable[..., FastAPI], monkeypatch: pytest.MonkeyPatch, *, is_freed: bool
) -> None:
    # Its clock stands still, so that no pause of the machine ends the wait.
    monkeypatch.setattr("app.predictor.Pacing", lambda: Pacing(Clock()))
    held = HeldClassifier()

    async def run() -> tuple[list[int], float]:
        app = make_app(held, max_pending_images=1)
        first = Caller(app)
        first.say(BOOT)
        await held.begins()
        started = time.monotonic()
        statuses = [(await Caller(app, port=port).hear())[0] for port in (2, 1)]  # refused at once
        again = Caller(app, port=1)
        again.say(BOOT)
        await asyncio.sleep(0.1)
        if is_freed:
            held.release.set()
        statuses.append((await again.hear())[0])
        waited = time.monotonic() - started
        held.release.set()
        await first.hear()
        return statuses, waited

    statuses, waited = asyncio.run(run())
    assert statuses == [503, 503, 200 if is_freed else 503]
    assert waited >= PAUSE_SECONDS


async def nothing_more() -> Message:
    return await asyncio.Future()


def test_watching_for_a_disconnect_ends_with_the_request() -> None:
    async def run() -> None:
        async with asyncio.timeout(30):
            with Patience(Deadline.after(60, None)) as patience:
                patience.listen(nothing_more)
                await asyncio.sleep(2 * UNWATCHED_SECONDS)
                assert len(asyncio.all_tasks()) == 2
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_a_deadline_that_passes_as_the_client_leaves_cancels_once() -> None:
    async def leaves() -> Message:
        await asyncio.sleep(0.05)
        return {"type": "http.disconnect"}

    async def run() -> None:
        with (  # noqa: PT012  both at once are what is tried
            pytest.raises((RequestTimeoutError, ClientDisconnect)),
            Patience(Deadline.after(UNWATCHED_SECONDS + 0.1, None)) as patience,
        ):
            patience.listen(leaves)
            asyncio.get_running_loop().call_later(UNWATCHED_SECONDS + 0.02, time.sleep, 0.2)
            await asyncio.sleep(60)
        task = asyncio.current_task()
        assert task
        assert task.cancelling() == 0

    asyncio.run(run())


def test_a_client_that_still_sends_does_not_count_as_gone() -> None:
    messages: list[Message] = [{"type": "http.request", "body": b""}]

    async def receive() -> Message:
        return messages.pop() if messages else await nothing_more()

    async def run() -> None:
        with Patience(Deadline.after(60, None)) as patience:
            patience.listen(receive)
            await asyncio.sleep(2 * UNWATCHED_SECONDS)

    asyncio.run(run())
    assert not messages


def test_a_cancellation_from_outside_takes_effect_even_if_the_deadline_has_passed_too() -> None:
    async def late() -> None:
        with Patience(Deadline.after(0.05, None)):
            await asyncio.sleep(60)

    async def run() -> None:
        task = asyncio.create_task(late())
        await asyncio.sleep(0)  # until it has begun
        time.sleep(0.1)  # noqa: ASYNC251  the loop is to come to both at once, and to the deadline first
        asyncio.get_running_loop().call_later(0, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_an_error_during_the_cancellation_is_not_hidden_by_the_deadline() -> None:
    async def run() -> None:
        with pytest.raises(KeyError), Patience(Deadline.after(0.05, None)):  # noqa: PT012
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise KeyError from None

    asyncio.run(run())
