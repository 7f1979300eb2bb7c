from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.serving.results import Comparison, Results
from benchmarks.serving.targets import MULTIPART, RAW, Target, targets
from tests.benchmarks.serving.conftest import outcome

if TYPE_CHECKING:
    from collections.abc import Callable


def reached(results: Results) -> dict[str, Target]:
    return {target.promise: target for target in targets(results)}


def test_medians_of_one_run_are_compared(results: Results) -> None:
    results.loads[RAW][64] = [outcome(rate=rate) for rate in (95.0, 10.0, 1000.0)]
    target = reached(results)["raw at 64 connections, of mosec's rate"]
    assert target.measured == pytest.approx(0.95)
    assert not target.missed


def test_measurements_taken_in_turns_are_compared_turn_by_turn(results: Results) -> None:
    # The machine was slower in the second turn; the service failed in the last.
    results.shipped = Comparison([80.0, 30.0, 70.0], [100.0, 40.0, 100.0, 100.0])
    assert results.shipped.ratio == pytest.approx(0.75)


def test_a_target_that_is_not_reached_is_missed(results: Results) -> None:
    missed = {promise for promise, target in reached(results).items() if target.missed}
    assert missed == {
        "raw at 64, of FastAPI-direct's rate",
        "multipart at 64, of FastAPI-direct's rate",
        "multipart at 64, of LitServe's rate",
        "photographs, of the rate of their preparation alone",
    }


@pytest.mark.parametrize(
    ("promise", "spoil"),
    [
        ("p50 at 1, ours, raw to FastAPI-direct, raw", lambda one: one.loads[RAW].update({1: [outcome(p50=10.1)]})),
        ("p99 to p50 at 64, ours, multipart", lambda one: one.loads[MULTIPART].update({64: [outcome(p99=25.1)]})),
        ("rate at 256 to that at 64, ours, raw", lambda one: one.loads[RAW].update({256: [outcome(rate=89)]})),
        (
            "shipped network, of the rate of its SavedModel alone",
            lambda one: setattr(one, "shipped", Comparison([70.0], [100.0])),
        ),
        ("errors of ours in all loads", lambda one: one.loads[MULTIPART].update({16: [outcome(errors=1)]})),
        ("errors of ours in all loads", lambda one: one.mixed.update({"small": [outcome(errors=1)]})),
        ("errors of ours in all loads", lambda one: setattr(one.sizes[784], "errors", 1)),
    ],
)
def test_each_promise_can_be_missed(results: Results, promise: str, spoil: Callable[[Results], None]) -> None:
    assert not reached(results)[promise].missed
    spoil(results)
    assert reached(results)[promise].missed


def test_a_target_that_was_not_measured_is_not_missed() -> None:
    every = targets(Results())
    assert {target.measured for target in every} == {None}
    assert not any(target.missed for target in every)
