from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks.soak.record import Minute, Record, markdown

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD = Minute(
    answers=100,
    right=99,
    overloaded=1,
    hung_up=2,
    faults={},
    p50_milliseconds=5,
    p99_milliseconds=20,
    resident_bytes=2**30,
    proportional_bytes=2**29,
)


def record(change: Callable[[int], Minute] = lambda _: GOOD, minutes: int = 30) -> Record:
    return Record({"seed": "0"}, full_rate=400, rate=280, minutes=[change(number) for number in range(1, minutes + 1)])


def test_thirty_steady_minutes_are_good_enough() -> None:
    assert list(record().complaints()) == []


@pytest.mark.parametrize(
    "weighing",
    [lambda weight: replace(GOOD, resident_bytes=weight), lambda weight: replace(GOOD, proportional_bytes=weight)],
    ids=["resident", "proportional"],
)
def test_memory_may_grow_by_less_than_two_per_cent_after_minute_five(weighing: Callable[[int], Minute]) -> None:
    def growing(share: float) -> Record:
        return record(lambda minute: weighing(round(2**30 * (1 + share * max(0, minute - 5) / 25))))

    assert list(growing(0.019).complaints()) == []
    assert list(growing(0.021).complaints()) == [
        "expected memory to grow by less than 2% after minute five, found 2.1%"
    ]


def test_what_memory_does_before_minute_five_does_not_count() -> None:
    assert list(record(lambda minute: replace(GOOD, resident_bytes=2**30 * min(minute, 5))).complaints()) == []


def test_a_p99_that_rises_by_half_is_not_steady() -> None:
    def rising(to: float) -> Record:
        return record(lambda minute: replace(GOOD, p99_milliseconds=20 if minute < 18 else to))

    assert list(rising(29).complaints()) == []
    assert list(rising(40).complaints()) == ["expected a p99 at most 1.5 times the earlier half's, found 2.00 times"]


def test_a_single_fault_is_too_many() -> None:
    failed = record(lambda minute: replace(GOOD, faults={"raw: 500, b''": 1}) if minute == 7 else GOOD)
    assert list(failed.complaints()) == ["expected no fault, found 1, such as raw: 500, b''"]


def test_more_than_one_per_cent_of_refusals_is_too_many() -> None:
    refusing = record(lambda minute: replace(GOOD, right=1, overloaded=99) if minute == 7 else GOOD)
    assert list(refusing.complaints()) == ["expected at most 1% of the answers to be refusals, found 4.3%"]


def test_a_run_without_right_answers_is_no_success() -> None:
    assert list(record(lambda _: replace(GOOD, answers=0, right=0, overloaded=0)).complaints()) == [
        "expected right answers, found none"
    ]


def test_a_trial_judges_neither_memory_nor_steadiness_and_says_so() -> None:
    trial = record(lambda minute: replace(GOOD, resident_bytes=2**30 * minute, p99_milliseconds=minute), minutes=5)
    assert list(trial.complaints()) == []
    assert markdown(trial).count("not judged") == 2


def test_the_page_has_a_row_for_each_minute_and_a_line_for_each_fault() -> None:
    text = markdown(record(lambda _: replace(GOOD, faults={"raw: 500, b''": 1})))
    assert "| 30 | 100 | 99 | 1 | 2 | 1 | 5.0 | 20.0 | 1024.0 | 512.0 |" in text
    assert "280 requests a second, 70% of that" in text
    assert "- 30 times raw: 500, b''" in text
