from __future__ import annotations

from app.pacing import MOST_REMEMBERED, MOST_SECONDS, Pacing
from tests.app.test_admission import Clock


def test_who_is_back_too_soon_is_told_by_how_much_once_for_each_refusal() -> None:
    clock = Clock()
    pacing = Pacing(clock)
    pacing.refuse("one", 1)
    clock.seconds += 0.25
    assert pacing.seconds_too_soon("another") == 0
    assert pacing.seconds_too_soon("one") == 0.75
    assert pacing.seconds_too_soon("one") == 0


def test_who_waited_as_told_is_not_too_soon_and_nobody_is_held_for_long() -> None:
    clock = Clock()
    pacing = Pacing(clock)
    pacing.refuse("patient", 1)
    pacing.refuse("told to wait long", 30)
    assert pacing.seconds_too_soon("told to wait long") == MOST_SECONDS
    clock.seconds += 1
    assert pacing.seconds_too_soon("patient") == 0


def test_of_those_who_never_come_back_only_so_many_are_remembered() -> None:
    clock = Clock()
    pacing = Pacing(clock)
    for number in range(MOST_REMEMBERED):
        pacing.refuse(number, 1)
    clock.seconds += 0.5
    pacing.refuse("last", 1)  # nobody's time has passed: all are forgotten
    assert pacing.seconds_too_soon(0) == 0
    for number in range(MOST_REMEMBERED - 1):
        pacing.refuse(number, 0.1)
    clock.seconds += 0.2
    pacing.refuse("new", 1)
    assert pacing.seconds_too_soon("last") > 0
    assert pacing.seconds_too_soon("new") > 0
