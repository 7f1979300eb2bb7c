from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from starlette.responses import Response

from benchmarks import overload
from benchmarks.callers import Load, Seen
from tests.conftest import listening
from tests.fakes import ScriptedService

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.callers import Picture

ANSWER = '{"probabilities": [' + ", ".join('{"probability": 0.1}' for _ in range(10)) + "]}"


def answer(body: str = ANSWER) -> Response:
    return Response(body, media_type="application/json")


def refusal(status: int = 503, **headers: str) -> Response:
    return Response("no", status, {name.replace("_", "-"): value for name, value in headers.items()})


def seen_of(
    url: str,
    pictures: list[Picture],
    *,
    connections: int = 1,
    patient: bool = True,
    is_enough: Callable[[Seen], object] = lambda _: True,
) -> Seen:
    """Load a service for a moment; if the machine was too busy for enough to be seen, load it again for longer."""
    host, _, port = url.removeprefix("http://").partition(":")

    async def run(seconds: float) -> Seen:
        return await Load((host, int(port)), pictures, patient=patient).run(connections, 0.05, seconds)

    for seconds in (0.2, 2, 20):
        seen = asyncio.run(run(seconds))
        if is_enough(seen):
            break
    return seen


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    with listening(ScriptedService(answer())) as url:
        return overload.ask_at_rest(url, 3)


def test_every_client_asks_again_once_it_is_answered(pictures: list[Picture]) -> None:
    service = ScriptedService(answer(), delay_seconds=0.01)
    with listening(service) as url:
        seen = seen_of(url, pictures, connections=4, is_enough=lambda seen: seen.checked)
    assert service.most_at_once == 4
    assert 0 < seen.rate < 4 / 0.01
    assert seen.percentile(50) >= 9  # a sleep may end a little early
    assert (seen.refusals.total(), seen.failures.total(), seen.wrong) == (0, 0, 0)
    assert seen.checked == len(seen.milliseconds) // 20 > 0


def test_a_patient_client_waits_as_told_and_an_impatient_one_does_not(pictures: list[Picture]) -> None:
    service = ScriptedService(refusal(retry_after="7"))
    with listening(service) as url:
        seen_of(url, pictures)
        assert len(service.times) == 1
        seen = seen_of(url, pictures, patient=False, is_enough=lambda seen: seen.refusals.total() > 5)
    assert seen.refusals.keys() == {(503, 7)}
    assert seen.refusals.total() > 5


def test_answers_that_differ_from_those_at_rest_are_counted(pictures: list[Picture]) -> None:
    with listening(ScriptedService(answer(ANSWER.replace("0.1", "0.2", 1)))) as url:
        seen = seen_of(url, pictures, is_enough=lambda seen: seen.checked)
    assert seen.wrong == seen.checked > 0


def test_connections_that_are_refused_are_counted(pictures: list[Picture], no_service: str) -> None:
    assert seen_of(no_service, pictures, is_enough=lambda seen: seen.failures).failures


def test_a_connection_closed_after_an_answer_is_reopened(pictures: list[Picture]) -> None:
    closing = answer()
    closing.headers["connection"] = "close"
    with listening(ScriptedService(closing)) as url:
        seen = seen_of(url, pictures, is_enough=lambda seen: len(seen.milliseconds) > 5)
    assert len(seen.milliseconds) > 5
    assert not seen.failures


def test_the_run_exits_with_1_and_says_so_if_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with listening(ScriptedService(answer())) as url:
        assert overload.main(["--url", url, "--connections", "2", "--seconds", "0.1", "--rounds", "1"]) == 1
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.endswith("| **no** |") for row in rows if row.startswith("| every refusal")] == [True]
    assert "| no request without an answer | 0 | yes |" in rows


@pytest.mark.parametrize(("over", "kept"), [((95.0, 20.0), [True, True]), ((80.0, 40.0), [False, False])])
def test_pace_is_compared_with_the_best_throughput_and_the_waits_at_full_load(
    over: tuple[float, float], kept: list[bool]
) -> None:
    def seen(rate: float, milliseconds: float) -> Seen:
        return Seen(seconds=1.0, milliseconds=[milliseconds] * int(rate))

    assert [one.kept for one in overload.pace(100.0, [seen(98, 10)], [seen(*over)])] == kept


@pytest.mark.parametrize(
    ("memory", "kept"), [([], []), ([100], []), ([100, 200, 105], [True]), ([100, 100, 106], [False])]
)
def test_memory_growth_is_not_judged_after_a_single_overload(memory: list[int], kept: list[bool]) -> None:
    assert [one.kept for one in overload.growth(memory)] == kept


def test_without_a_service_it_says_so_in_one_line(no_service: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert overload.main(["--url", no_service, "--quick"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
