from __future__ import annotations

import time

import pytest

from benchmarks.stages import measure, stages
from tests.fakes import FirstPixelClassifier


@pytest.mark.usefixtures("restored_logging")
def test_every_stage_of_an_answer_runs_and_is_named_once() -> None:
    names = []
    for name, stage in stages(FirstPixelClassifier(), (1, 4)):
        stage()
        names.append(name.split()[0])
    assert names == [
        "receive",
        "read",
        "decode",
        "convert",
        "batch",
        "infer",
        "infer",
        "serialise",
        "count",
        "log",
        "log",
        "show",
        "answer",
    ]


def test_the_median_is_in_microseconds_of_processor_time() -> None:
    def compute_and_wait() -> None:
        until = time.process_time() + 0.002
        while time.process_time() < until:
            pass
        time.sleep(0.02)

    assert 2000 <= measure(compute_and_wait, rounds=3) < 20_000
