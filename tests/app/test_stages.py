from __future__ import annotations

import re
import time

import pytest

from app.stages import Stages


def test_every_moment_belongs_to_one_stage() -> None:
    stages = Stages()
    started = time.perf_counter()
    stages.end("receive", started + 1)
    stages.end("queue", started + 1.25)
    stages.end("decode", started + 3)
    stages.end_pass(started + 4, started + 6, images=7)
    stages.end("serialise", started + 6.5)
    durations = dict(part.split(";", 1) for part in stages.header().split(", "))
    assert list(durations) == ["receive", "decode", "queue", "infer", "serialise"]
    assert durations["decode"] == "dur=1750.000"
    assert durations["infer"] == "dur=2000.000"
    assert durations["queue"].endswith(';desc="batch of 7"')


def test_repeated_stages_add_up() -> None:
    stages = Stages()
    started = time.perf_counter()
    stages.end("receive", started)
    stages.end("queue", started + 0.25)
    stages.end("decode", started + 3)
    stages.end("queue", started + 4)
    assert stages.seconds["queue"] == pytest.approx(1.25)


def test_time_that_others_measure_is_left_out() -> None:
    stages = Stages()
    started = time.perf_counter()
    stages.end("receive", started - 60)
    stages.leave_out()
    stages.end("serialise")
    assert stages.seconds["serialise"] < 30


def test_the_timed_stages_do_not_change_while_a_thread_goes_on() -> None:
    stages = Stages()
    stages.end("receive")
    reached = []
    for stage, _ in stages.timed():
        stages.end("decode")
        reached.append(stage)
    assert reached == ["receive"]
    assert [stage for stage, _ in stages.timed()] == ["receive", "decode"]


def test_stages_that_were_not_reached_are_left_out() -> None:
    stages = Stages()
    assert stages.header() == ""
    stages.end("receive")
    assert re.fullmatch(r"receive;dur=\d+\.\d{3}", stages.header())
