"""An artifact that differs from its card is refused at startup but does not affect a running service."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from benchmarks.serving.systems import OURS, ROOT
from tests.faults.conftest import ARTIFACT, START_SECONDS, service, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.faults

WEIGHTS = "variables/variables.data-00000-of-00001"


def flip_a_bit(artifact: Path) -> None:
    content = bytearray((artifact / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (artifact / WEIGHTS).write_bytes(content)


def cut_off(artifact: Path) -> None:
    os.truncate(artifact / WEIGHTS, (artifact / WEIGHTS).stat().st_size // 2)


def leave_out(artifact: Path) -> None:
    (artifact / WEIGHTS).unlink()


def swap(artifact: Path) -> None:
    """Replace the graph with other bytes of the same length."""
    graph = artifact / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[::-1])


def add(artifact: Path) -> None:
    (artifact / "assets.extra").mkdir(exist_ok=True)
    (artifact / "assets.extra" / "hook.py").write_text("print('never')\n")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return shutil.copytree(ARTIFACT, tmp_path / "artifact")


@pytest.mark.parametrize(
    ("harm", "file", "found"),
    [
        (flip_a_bit, WEIGHTS, "found SHA-256 "),
        (cut_off, WEIGHTS, "found SHA-256 "),
        (leave_out, WEIGHTS, "found no such file"),
        (swap, "saved_model.pb", "found SHA-256 "),
        (add, "assets.extra/hook.py", "expected no such file, it is not on the card"),
    ],
    ids=["a bit flipped", "half-written", "a file missing", "from elsewhere", "a file added"],
)
def test_an_artifact_that_differs_from_its_card_is_refused_in_one_line(
    artifact: Path, harm: Callable[[Path], None], file: str, found: str
) -> None:
    harm(artifact)
    done = subprocess.run(
        OURS.command(0),
        env=os.environ | OURS.environment(artifact, 0),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"fashion-mnist-service: {artifact / file}: expected ")
    assert found in done.stderr


def test_a_running_service_does_without_its_artifact_and_recovers_once_it_is_back(
    artifact: Path, picture: bytes, tmp_path: Path
) -> None:
    with service(tmp_path, MODEL_DIR=artifact) as started:
        expected = started.predict(picture)

        swap(artifact)
        assert all(started.predict(picture) == expected for _ in range(20))
        shutil.rmtree(artifact)
        assert all(started.predict(picture) == expected for _ in range(20))

        os.kill(min(started.workers), signal.SIGKILL)
        refusal = f"{artifact / 'model_card.json'}: expected a model card, found none"
        wait_until(lambda: started.log.read_text().count(refusal) >= 2, "the replacement has failed twice")
        assert all(started.predict(picture) == expected for _ in range(20))
        assert started.process.poll() is None

        shutil.copytree(ARTIFACT, artifact)
        seconds = wait_until(lambda: len(started.workers) == 2, "it is whole")
        tries = started.log.read_text().count(refusal)
        print(f"\n{tries} attempts, then ready {seconds:.1f} s after the artifact was back")
        assert tries < 6
        assert all(started.predict(picture) == expected for _ in range(20))
        started.process.terminate()
        assert started.process.wait(60) == 0
