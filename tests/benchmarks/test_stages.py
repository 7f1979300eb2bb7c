from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from benchmarks.stages import main, measure, stages
from tests.fakes import FirstPixelClassifier

if TYPE_CHECKING:
    from pathlib import Path


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
    def compute() -> None:
        until = time.process_time() + 0.002
        while time.process_time() < until:
            pass

    assert 2000 <= measure(compute, rounds=3) < 20_000
    assert measure(lambda: time.sleep(0.002), rounds=3) < 2000


def test_a_folder_without_a_model_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["stages", "--model", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"python -m benchmarks.stages: error: {tmp_path}")
