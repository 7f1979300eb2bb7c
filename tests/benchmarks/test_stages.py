from __future__ import annotations

import time

from benchmarks.stages import measure, stages
from tests.fakes import FirstPixelClassifier


def test_every_stage_of_an_answer_runs_and_is_named_once() -> None:
    named = list(stages(FirstPixelClassifier(), (1, 4)))
    names = [name.split()[0] for name, _ in named]
    assert names == ["receive", "read", "decode", "convert", "batch", "infer", "infer", "serialise", "answer"]
    for _, stage in named:
        stage()


def test_the_median_is_in_microseconds_of_processor_time() -> None:
    def compute() -> None:
        until = time.process_time() + 0.002
        while time.process_time() < until:
            pass

    assert 2000 <= measure(compute, rounds=3) < 20_000
    assert measure(lambda: time.sleep(0.002), rounds=3) < 2000
