from __future__ import annotations

from app.pacing import MOST_REMEMBERED, PAUSE_SECONDS, Pacing
from tests.app.test_admission import Clock


def test_who_is_back_too_soon_is_told_by_how_much_once_for_each_refusal() -> None:
    clock = Clock()
    pacing = Pacing(clock)
    pacing.refuse("one")
    clock.seconds += 0.25
    assert pacing.take_seconds_too_soon("another") == 0
    assert pacing.take_seconds_too_soon("one") == 0.75
    assert pacing.take_seconds_too_soon("one") == 0


def test_who_waited_as_told_is_not_too_soon() -> None:
    clock = Clock()
    pacing = Pacing(clock)
    pacing.refuse("one")
    clock.seconds += PAUSE_SECONDS
    assert pacing.take_seconds_too_soon("one") == 0


def test_of_those_who_never_come_back_only_so_many_are_remembered() -> None:
    clock = Clock()
    pacing = Pacing(clock)
    for number in range(MOST_REMEMBERED):
        pacing.refuse(number)
    clock.seconds += 0.5
    pacing.refuse("last")  # nobody's time has passed: all are forgotten
    assert pacing.take_seconds_too_soon(0) == 0
    for number in range(MOST_REMEMBERED - 2):
        pacing.refuse(number)
    clock.seconds += 0.5
    pacing.refuse("later")
    clock.seconds += 0.75
    pacing.refuse("new")  # the time of all but the later one has passed
    assert pacing.take_seconds_too_soon("later") == 0.25
    assert pacing.take_seconds_too_soon("new") == PAUSE_SECONDS
