from __future__ import annotations

import asyncio
import math

import pytest

from app.admission import RATE_SECONDS, SMALL, Admission, Permit, work_of
from app.errors import InvalidImageError, OverloadedError


class Clock:
    """A clock that stands still until a test advances it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def end(permit: Permit, error: type[BaseException] | None = None) -> None:
    permit.__exit__(error, None, None)


def measured(seconds_each: float, max_pictures: int = 100, max_seconds: float = 5) -> tuple[Admission, Clock]:
    """Return an admission that has just measured small pictures, one at a time, for at least a second."""
    clock = Clock()
    admission = Admission(max_pictures, max_seconds, clock=clock)
    for _ in range(math.ceil(1.001 / seconds_each)):
        with admission.permit(SMALL):
            clock.seconds += seconds_each
    return admission, clock


def admitted(admission: Admission, work: float = SMALL) -> list[Permit]:
    """Admit pictures until one is refused."""
    permits = []
    for _ in range(1000):
        try:
            permits.append(admission.permit(work))
        except OverloadedError:
            break
    return permits


def test_a_burst_gets_exactly_the_free_places_and_each_is_given_back() -> None:
    admission = Admission(max_pictures=7, max_seconds=5)
    permits = admitted(admission)
    assert len(permits) == 7
    end(permits[0])
    end(permits[1], ValueError)
    assert len(admitted(admission)) == 2


def test_before_enough_is_measured_only_the_places_limit_and_retry_after_is_one_second() -> None:
    admission = Admission(max_pictures=7, max_seconds=0.001)
    permits = admitted(admission, work_of(10**7))
    assert len(permits) == 7
    assert admission.retry_after_seconds == 1
    end(permits[0])  # it took no time, so nothing is measured
    assert len(admitted(admission)) == 1


def test_the_wait_for_a_first_pass_is_not_mistaken_for_the_time_of_each_picture() -> None:
    clock = Clock()
    admission = Admission(100, 5, clock=clock)
    first, second, *_ = [admission.permit(SMALL) for _ in range(32)]
    clock.seconds += 0.4
    end(first)
    assert admission.expected_seconds == 0
    clock.seconds += 0.2
    end(second)
    assert admission.expected_seconds == pytest.approx(30 * 0.6 / 2)


@pytest.mark.parametrize(("seconds_each", "seconds"), [(0.001, 1), (0.1234, 13), (0.25, 25), (3.0, 300)])
def test_retry_after_is_the_pending_work_at_the_measured_rate_rounded_up(seconds_each: float, seconds: int) -> None:
    admission, _ = measured(seconds_each, max_seconds=1000)
    assert len(admitted(admission)) == 100
    with pytest.raises(OverloadedError) as refused:
        admission.require_place()
    assert refused.value.retry_after_seconds == seconds


def test_no_more_work_is_admitted_than_can_be_done_in_the_configured_seconds() -> None:
    admission, _ = measured(seconds_each=0.5, max_seconds=5)
    permits = admitted(admission)
    assert len(permits) == 11  # the last has ten before it, which take five seconds
    with pytest.raises(OverloadedError, match=r"at most 5 seconds of work before a picture, found 5\.5") as refused:
        admission.require_place()
    assert refused.value.retry_after_seconds == 6


def test_large_pictures_count_by_their_bytes() -> None:
    small, photograph, huge = (
        len(admitted(measured(0.01, 1000)[0], work)) for work in (1, work_of(40_000), work_of(10**7))
    )
    assert (small, photograph, huge) == (501, 55, 9)


def test_the_rate_is_measured_only_while_something_is_pending() -> None:
    admission, clock = measured(seconds_each=0.1)
    clock.seconds += 3600  # idle
    first, second = admission.permit(SMALL), admission.permit(SMALL)
    clock.seconds += 0.2
    end(first)
    end(second)
    permit = admission.permit(SMALL)
    assert admission.expected_seconds == pytest.approx(0.1)
    end(permit)
    assert admission.expected_seconds == 0


def test_pictures_finished_together_as_in_a_batch_count_all_of_their_time() -> None:
    clock = Clock()
    admission = Admission(100, 5, clock=clock)
    for _ in range(5):
        permits = [admission.permit(SMALL) for _ in range(32)]
        clock.seconds += 0.32
        for permit in permits[:-1]:
            end(permit)
            rate = admission.expected_seconds
        end(permits[-1])
    assert rate == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("error", [asyncio.CancelledError, InvalidImageError])
def test_pictures_dropped_or_refused_in_no_time_leave_the_rate_as_it_was(error: type[BaseException]) -> None:
    admission, clock = measured(seconds_each=0.1)
    for _ in range(50):
        end(admission.permit(work_of(10**7, 50_000_000), certain=9), error)
    with admission.permit(SMALL):
        clock.seconds += 0.1
    admission.permit(SMALL)
    assert admission.expected_seconds == pytest.approx(0.1)


def test_a_refused_picture_that_waited_for_others_counts_as_no_more_than_is_certain() -> None:
    admission, clock = measured(seconds_each=0.1, max_seconds=1000)
    for _ in range(10):
        refused, other = admission.permit(work_of(33, 50_000_000), certain=1), admission.permit(SMALL)
        clock.seconds += 0.1
        end(other)
        end(refused, InvalidImageError)
    admission.permit(SMALL)
    assert admission.expected_seconds == pytest.approx(0.067, rel=0.1)  # twenty things in the second


def test_files_refused_after_as_much_work_as_others_leave_the_rate_as_it_was() -> None:
    admission, clock = measured(seconds_each=0.1)
    for _ in range(200):
        permit = admission.permit(SMALL)
        clock.seconds += 0.1
        end(permit, InvalidImageError)
    admission.permit(SMALL)
    assert admission.expected_seconds == pytest.approx(0.1)


def test_a_minute_of_dropped_pictures_leaves_the_rate_as_it_was() -> None:
    admission, clock = measured(seconds_each=0.1)
    for _ in range(1200):
        permit = admission.permit(work_of(40_000))
        clock.seconds += 0.05
        end(permit, asyncio.CancelledError)
    admission.permit(SMALL)
    assert admission.expected_seconds == pytest.approx(0.1)


def test_all_the_time_of_a_picture_counts_even_if_others_are_dropped_meanwhile() -> None:
    admission, clock = measured(seconds_each=0.1)
    for _ in range(500):
        permit = admission.permit(SMALL)
        for _ in range(10):
            dropped = admission.permit(SMALL)
            clock.seconds += 0.01
            end(dropped, asyncio.CancelledError)
        end(permit)
    admission.permit(SMALL)
    assert admission.expected_seconds == pytest.approx(0.1)


def test_retry_after_is_no_longer_than_anything_can_be_pending() -> None:
    clock = Clock()
    admission = Admission(max_pictures=100, max_seconds=1, deadline_seconds=30, clock=clock)
    with admission.permit(SMALL):
        clock.seconds += 20
    admission.permit(work_of(10**7))
    with pytest.raises(OverloadedError) as refused:
        admission.require_place()
    assert refused.value.retry_after_seconds == 30


def test_a_stale_rate_refuses_nobody_for_long() -> None:
    admission, clock = measured(seconds_each=60)
    clock.seconds += 3600
    turns = 0
    while len(permits := admitted(admission)) < 100:
        assert permits, "an empty queue takes a picture on"
        for permit in permits:
            clock.seconds += 0.001
            end(permit)
        turns += 1
    assert turns < 10


def test_the_rate_adapts_when_pictures_begin_to_take_longer() -> None:
    admission, clock = measured(seconds_each=0.01)
    started = clock.seconds
    while clock.seconds < started + 4 * RATE_SECONDS:
        with admission.permit(SMALL):
            clock.seconds += 0.1
    admission.permit(SMALL)
    assert admission.expected_seconds == pytest.approx(0.1, rel=0.2)


def test_pictures_in_line_count_as_pending_until_their_batch_ends() -> None:
    admission, _ = measured(seconds_each=1, max_pictures=2, max_seconds=5)

    async def run() -> None:
        with admission.line_up([SMALL] * 4) as line, admission.line_up([2 * SMALL] * 2):
            assert (admission.pending, admission.expected_seconds) == (6, 8)
            first, second = await line.permit(SMALL), await line.permit(SMALL)
            assert (admission.pending, admission.expected_seconds) == (6, 8)
            with pytest.raises(OverloadedError, match=r"5 seconds of work before a picture, found 8\.0") as refused:
                admission.line_up([SMALL])
            assert refused.value.retry_after_seconds == 8
            third, fourth = (asyncio.create_task(line.permit(SMALL)) for _ in range(2))
            await asyncio.sleep(0.01)
            assert not third.done()
            fourth.cancel()
            await asyncio.sleep(0)
            assert (admission.pending, admission.expected_seconds) == (5, 7)  # of the four in line, one waits no more
            end(second, asyncio.CancelledError)
            end(await third, asyncio.CancelledError)
        assert (admission.pending, admission.expected_seconds) == (1, 1)
        end(first)
        assert (admission.pending, admission.expected_seconds) == (0, 0)

    asyncio.run(run())


def test_a_batch_may_line_up_where_all_places_are_taken() -> None:
    admission, _ = measured(seconds_each=1, max_pictures=2, max_seconds=5)
    assert len(admitted(admission)) == 2
    with admission.line_up([SMALL] * 9):
        assert admission.pending == 11
        with pytest.raises(OverloadedError, match="at most 2 pictures"):
            admission.permit(SMALL)


def test_each_megapixel_is_as_much_work_as_25_small_pictures() -> None:
    assert work_of(0, 2_000_000) - work_of(0) == pytest.approx(50)
