"""The load, sent to the whole service with a fake model."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from starlette.responses import Response

from app.imaging.conversion import Mode, convert
from app.imaging.decode import decode
from app.imaging.recognition import evidence_in, weigh
from benchmarks.soak.connection import request
from benchmarks.soak.drive import OpenLoad, Tally, closed_load
from benchmarks.soak.mix import Mix, Pictures, Request, bad, good, has_status
from tests.conftest import listening
from tests.fakes import FirstPixelClassifier, ScriptedService
from training.data import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.usefixtures("quiet")

ASK = Request("ask", request("/"), has_status(200))


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return Pictures(seed=0)


@pytest.fixture(scope="module")
def kinds(pictures: Pictures) -> dict[str, list[Request]]:
    """Return all requests; each expects the fake's answer, weighed with the evidence of the colours."""
    converted = [convert(decode(picture, "", 10**6).pixels, Mode.AUTO) for picture in pictures.all]
    said = FirstPixelClassifier().classify(np.stack([one.image for one in converted])).probabilities
    rows = [weigh(row, evidence_in(one.colours, LABELS), 1) for row, one in zip(said, converted, strict=True)]
    return good(pictures, np.stack(rows)) | {"bad": bad(pictures)}


def ask_each(url: str, requests: Iterable[Request], count: int, seconds: float = 0.1) -> Tally:
    """Send `count` requests, evenly spread over some seconds."""
    load = OpenLoad(int(url.rpartition(":")[2]), requests, count / seconds)
    asyncio.run(load.run(seconds))
    return load.take()


def test_every_bad_request_is_refused_as_expected(url: str, kinds: dict[str, list[Request]]) -> None:
    tally = ask_each(url, kinds["bad"], len(kinds["bad"]))
    assert not tally.faults
    assert (tally.right, tally.hung_up) == (len(kinds["bad"]) - 1, 1)


def test_every_kind_of_good_request_is_answered_as_expected(url: str, kinds: dict[str, list[Request]]) -> None:
    requests = [one for kind, some in kinds.items() if kind != "bad" for one in some[:5]]
    tally = ask_each(url, requests, len(requests))
    assert not tally.faults
    assert tally.right == len(requests) == 25


def test_an_answer_that_differs_from_the_artifact_s_is_a_fault(url: str, kinds: dict[str, list[Request]]) -> None:
    one, batch = kinds["raw"][0], kinds["batch"][0]
    crossed = [Request("crossed", batch.sent, one.is_right), Request("crossed", one.sent, batch.is_right)]
    tally = ask_each(url, crossed, len(crossed))
    assert tally.right == 0
    assert tally.faults.total() == len(crossed)


@pytest.mark.parametrize(
    ("response", "overloaded"),
    [(Response(status_code=503, headers={"Retry-After": "2"}), 1), (Response(status_code=503), 0)],
    ids=["with Retry-After", "without"],
)
def test_only_a_503_with_retry_after_is_not_a_fault(response: Response, overloaded: int) -> None:
    with listening(ScriptedService(response)) as url:
        tally = ask_each(url, [ASK], 1)
    assert (tally.overloaded, tally.faults.total()) == (overloaded, 1 - overloaded)


def test_a_server_that_is_not_there_is_a_fault(no_service: str) -> None:
    assert ask_each(no_service, [ASK], 1).faults.total() == 1


def test_an_open_load_asks_at_its_rate_however_long_answers_take() -> None:
    service = ScriptedService(Response("yes"), delay_seconds=0.3)
    with listening(service) as url:
        tally = ask_each(url, itertools.repeat(ASK), 10, seconds=1)
    assert tally.right == 10
    assert service.most_at_once >= 3
    assert tally.percentile(0) >= 299  # a sleep may end a little early


def test_a_closed_load_keeps_every_connection_busy() -> None:
    service = ScriptedService(Response("yes"), delay_seconds=0.05)
    with listening(service) as url:
        for seconds in (0.2, 2, 20):  # longer if the machine was too busy
            tally = asyncio.run(closed_load(int(url.rpartition(":")[2]), itertools.repeat(ASK), 4, seconds))
            if tally.answered >= 8:
                break
    assert service.most_at_once == 4
    assert tally.right == tally.answered >= 8


def test_a_mix_is_the_same_for_each_seed(kinds: dict[str, list[Request]]) -> None:
    def drawn(seed: int) -> list[bytes]:
        return [one.sent for one in itertools.islice(Mix(kinds, np.random.default_rng(seed)), 200)]

    assert drawn(0) == drawn(0) != drawn(1)
