from __future__ import annotations

from app.pacing import MOST_REMEMBERED, PAUSE_SECONDS, Pacing
from tests.app.test_admission import Clock


def test_a_client_that_is_back_too_soon_is_told_by_how_much_once_per_refusal() -> None:
    clock = Clock()
    pacing = Pacing(clock)
    pacing.refuse("one")
    clock.seconds += 0.25
    assert pacing.take_seconds_too_soon("another") == 0
    assert pacing.take_seconds_too_soon("one") == 0.75
    assert pacing.take_seconds_too_soon("one") == 0


def test_a_client_that_waited_as_told_is_not_too_soon() -> None:
    clock = Clock()
    pacing = Pacing(clock)
    pacing.refuse("one")
    clock.seconds += PAUSE_SECONDS
    assert pacing.take_seconds_too_soon("one") == 0


def test_only_a_limited_number_of_clients_is_remembered() -> None:
    clock = Clock()
    pacing = Pacing(clock)
    for number in range(MOST_REMEMBERED):
        pacing.refuse(number)
    clock.seconds += 0.5
    pacing.refuse("last")  # nobody's pause is over, so all are forgotten
    assert pacing.take_seconds_too_soon(0) == 0
    for number in range(MOST_REMEMBERED - 2):
        pacing.refuse(number)
    clock.seconds += 0.5
    pacing.refuse("later")
    clock.seconds += 0.75
    pacing.refuse("new")  # all pauses but that of the later one are over
    assert pacing.take_seconds_too_soon("later") == 0.25
    assert pacing.take_seconds_too_soon("new") == PAUSE_SECONDS
