from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.serving.measure import require_answers
from benchmarks.serving.servers import ServerError, family, memory_bytes, processor_seconds, running, wait_until_ready
from benchmarks.serving.systems import System, named, raw, tensor
from tests.benchmarks.serving.conftest import PROBABILITY, TINY, wait_until

if TYPE_CHECKING:
    from pathlib import Path

SHORT = System("short", "/", "image/png", raw, lambda answer: named(answer)[1:])
OTHER = System("other", "/", "image/png", raw, tensor)
EXPECTED = np.full((2, 10), PROBABILITY, np.float32)


@pytest.mark.usefixtures("tiny_server")
def test_right_answers_are_accepted_and_wrong_ones_refused(port: int) -> None:
    require_answers(TINY, port, [b"one", b"two"], EXPECTED)
    with pytest.raises(
        ServerError, match=r"tiny: expected the artifact's probabilities within 0\.001, found them off by"
    ):
        require_answers(TINY, port, [b"one", b"two"], EXPECTED + np.float32(0.002))
    with pytest.raises(ServerError, match="tiny: expected status 200, found 500"):
        require_answers(TINY, port, [b"one", b"bad"], EXPECTED)
    with pytest.raises(ServerError, match="short: expected 10 probabilities, found 9"):
        require_answers(SHORT, port, [b"one"], EXPECTED[:1])
    with pytest.raises(ServerError, match="other: expected ten probabilities as JSON, found KeyError"):
        require_answers(OTHER, port, [b"one"], EXPECTED[:1])


def test_all_processes_are_measured_and_none_is_left(port: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '600'], start_new_session=True)"]
    with running(command, {}, tmp_path, port, tmp_path / "log") as process:
        wait_until(process, lambda: len(family(process.pid)) > 1)
        child = (family(process.pid) - {process.pid}).pop()
        wait_until(process, lambda: family(child) == {child})  # until the child has started its own session
        own_pages = memory_bytes(process.pid)
        assert 2**20 < own_pages < 2**30
        assert 0 <= processor_seconds(process.pid) < 60
    assert family(process.pid) == family(child) == set()


def test_a_server_is_ready_once_its_answers_are_right(
    tiny_server: subprocess.Popen[bytes], port: int, tmp_path: Path
) -> None:
    expected = iter([EXPECTED + 1, EXPECTED])
    wait_until_ready(
        tiny_server, lambda: require_answers(TINY, port, [b"one", b"two"], next(expected)), tmp_path / "log"
    )
    assert not [*expected]


@pytest.mark.usefixtures("tiny_server")
def test_a_port_that_is_taken_is_refused(port: int, tmp_path: Path) -> None:
    with (
        pytest.raises(ServerError, match=f"expected port {port} to be free, found a server on it"),
        running(["true"], {}, tmp_path, port, tmp_path / "log"),
    ):
        pytest.fail("it started")


def test_the_last_line_of_a_server_that_ends_is_quoted(port: int, tmp_path: Path) -> None:
    def ask() -> None:
        msg = "nothing there"
        raise ConnectionRefusedError(msg)

    log = tmp_path / "log"
    command = [sys.executable, "-c", "print('first'); raise SystemExit('no model')"]
    with running(command, {}, tmp_path, port, log) as process:
        subprocess.Popen.wait(process, 30)
        with pytest.raises(ServerError, match="found nothing there; its last line: no model"):
            wait_until_ready(process, ask, log)
