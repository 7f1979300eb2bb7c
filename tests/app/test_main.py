"""The service as a process: started, called over the network, stopped."""

from __future__ import annotations

import http.client
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import httpx2
import pytest
from fastapi.testclient import TestClient

from app.__main__ import listening
from app.batching import batch_sizes
from app.errors import StartError
from app.imaging.segmentation import SEGMENTER, Segmenter
from app.main import app_from_environment, create_app
from app.model_card import read_verified
from app.processes.drain import Config
from app.processes.ports import listen_with_others
from app.processes.watchdog import HANGS
from app.settings import Settings
from tests.fakes import FirstPixelClassifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from app.telemetry.tally import Tally

START_SECONDS = 180  # the machine may be busy


def environment(**settings: object) -> dict[str, str]:
    return {**os.environ, **{f"FASHION_{name}": str(value) for name, value in settings.items()}}


@contextmanager
def service(
    command: Sequence[str] = ("-m", "app"), **settings: object
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run `python -m app`, or Python with other arguments, on a free port, and wait until it is ready.

    pytest shows what it writes to standard error if a test fails.
    """
    with reserved_port() as port:
        process = subprocess.Popen(
            [sys.executable, *command], env=environment(PORT=port, **{"DRAIN_SECONDS": 0} | settings)
        )
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_ready(process, url)
            yield process, url
        finally:
            process.terminate()
            process.wait(START_SECONDS)


@contextmanager
def reserved_port() -> Iterator[int]:
    """Yield a port that the system gives to nobody else meanwhile, though a service may listen on it."""
    with listen_with_others("127.0.0.1", 0) as reserved:
        port = reserved.getsockname()[1]
        if sys.platform != "linux":  # elsewhere the service could not be bound to it either
            reserved.close()
        yield port


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            if httpx2.get(f"{url}/health/ready", timeout=START_SECONDS).status_code == httpx2.codes.OK:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    pytest.fail("the service did not become ready")


def start_in_vain(**settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app"],
        env=environment(**{"PORT": 0, **settings}),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


def test_idle_connections_and_a_stop_last_no_longer_than_configured(artifact: Path) -> None:
    with service(
        MODEL_DIR=artifact, KEEP_ALIVE_SECONDS=1, SHUTDOWN_SECONDS=1, RECEIVE_SECONDS=600, REQUEST_TIMEOUT_SECONDS=600
    ) as (process, url):
        address = "127.0.0.1", int(url.rpartition(":")[2])
        with socket.create_connection(address, timeout=15) as idle:
            idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            assert idle.recv(65536).startswith(b"HTTP/1.1 200")
            assert idle.recv(65536) == b""
        with socket.create_connection(address, timeout=15) as slow:
            slow.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
            assert slow.recv(65536).startswith(b"HTTP/1.1 100")  # it is reading a body that never ends
            slow.sendall(b"half")
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=15) == 0


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the system has no such signal")
def test_a_single_worker_stops_on_a_hangup(artifact: Path) -> None:
    # The tests may run where the signal is ignored, as under nohup, and child processes inherit that.
    code = "import runpy, signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    code += "runpy.run_module('app', run_name='__main__')"
    with service(("-c", code), MODEL_DIR=artifact) as (process, _):
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=30) == 0


def test_a_single_worker_whose_event_loop_hangs_ends_so_that_it_can_be_restarted(artifact: Path) -> None:
    code = "import signal, time; from app import __main__ as command; "
    code += "command.Config.timeout_worker_healthcheck = property(lambda _: 2, lambda *_: None); "
    code += "signal.signal(signal.SIGUSR1, lambda *_: time.sleep(600)); command.main([])"
    with service(("-c", code), MODEL_DIR=artifact) as (process, _):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=3)
        process.send_signal(signal.SIGUSR1)
        assert process.wait(timeout=30) == HANGS


@pytest.mark.skipif(not Path("/proc").exists(), reason="without /proc nobody knows the workers")
def test_workers_whose_supervisor_was_killed_stop_and_free_the_port(artifact: Path) -> None:
    with service(MODEL_DIR=artifact, WORKERS=2) as (process, url):
        process.kill()
        process.wait()
        address = "127.0.0.1", int(url.rpartition(":")[2])
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                socket.create_connection(address, timeout=5).close()
            except ConnectionRefusedError:
                return
            time.sleep(0.1)
    pytest.fail("somebody still listens")


def test_an_artifact_that_fails_its_golden_set_stops_every_worker(artifact: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(artifact, tmp_path / "broken")
    card = read_verified(broken)
    golden = card.golden_set[0].model_copy(update={"probabilities": (1.0,) + (0.0,) * 9})
    card.model_copy(update={"golden_set": (golden,)}).write(broken)
    done = start_in_vain(MODEL_DIR=broken, WORKERS=2)
    assert done.returncode == 3
    assert "expected the answer on the card for golden image 0" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"MODEL_DIR": "/nowhere"}, "/nowhere/model_card.json: expected a model card, found none"),
        ({"WORKERS": "many"}, "FASHION_WORKERS: expected a value that is a valid integer or 'auto', found 'many'"),
    ],
)
def test_a_service_that_cannot_start_says_why_in_one_line(settings: dict[str, object], line: str) -> None:
    done = start_in_vain(**settings)
    assert done.returncode == 3
    assert done.stderr.startswith(f"fashion-mnist-service: {line}")
    assert done.stderr.count("\n") == 1


def test_the_log_does_not_say_that_the_service_runs_before_it_is_ready(caplog: pytest.LogCaptureFixture) -> None:
    config = Config("app", host="127.0.0.1", port=0, log_config=None, drain_seconds=0)
    with caplog.at_level("INFO"), listening(config) as bound:
        port = bound.getsockname()[1]
        logging.getLogger("uvicorn.error").info("heard again")
    assert caplog.messages == [f"loading the model, to listen on 127.0.0.1:{port}", "heard again"]


def test_a_port_chosen_by_the_system_is_logged_and_what_the_settings_do_not_achieve(artifact: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "app"],
        env=environment(PORT=0, MODEL_DIR=artifact, DRAIN_SECONDS=0, API_KEY="secret", MAX_CONNECTIONS=10**10),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        try:
            assert any("FASHION_MAX_CONNECTIONS is 10000000000, but" in line for line in process.stderr)
            assert any("this service asks for no key" in line for line in process.stderr)
            told = next(found for line in process.stderr if (found := re.search(r"ready on (\S+) with sample", line)))
            assert httpx2.get(f"{told[1]}/health/ready", timeout=START_SECONDS).status_code == httpx2.codes.OK
        finally:  # otherwise any failure would wait for it forever
            process.terminate()
            process.communicate(timeout=START_SECONDS)


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_the_log_line_that_it_is_ready_has_an_address_to_open(
    host: str, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(Settings(host=host, port=8123), FirstPixelClassifier())
    with caplog.at_level("INFO"), TestClient(app):
        assert f"ready on http://{address}:8123 with fake 7" in caplog.messages


def test_an_address_in_use_stops_the_start_and_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = start_in_vain(PORT=port)
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"fashion-mnist-service: cannot listen on 127.0.0.1:{port}; FASHION_HOST and FASHION_PORT")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_service_is_refused_the_address_until_the_first_has_ended(artifact: Path, workers: int) -> None:
    settings: dict[str, object] = {"MODEL_DIR": artifact, "WORKERS": workers, "DRAIN_SECONDS": 0}
    with subprocess.Popen(
        [sys.executable, "-m", "app"], env=environment(PORT=0, **settings), stderr=subprocess.PIPE
    ) as first:
        assert first.stderr
        try:
            told = next(found for line in first.stderr if (found := re.search(rb"to listen on 127.0.0.1:(\d+)", line)))
            port = int(told[1])
            second = start_in_vain(PORT=port, **settings)
            assert second.returncode == 3
            assert f"cannot listen on 127.0.0.1:{port}" in second.stderr
            wait_until_ready(first, f"http://127.0.0.1:{port}")
            kept = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
            kept.request("GET", "/health/live")
            assert kept.getresponse().read()  # the connection stays open, so that the service has to close it
        finally:  # otherwise any failure would wait for it forever
            first.terminate()
            first.communicate(timeout=START_SECONDS)
    kept.close()
    Config(lambda: None, drain_seconds=0, port=port).bind_socket().close()  # as the next service does


def test_a_coverage_that_the_model_was_not_fitted_for_stops_the_start(artifact: Path) -> None:
    done = start_in_vain(MODEL_DIR=artifact, COVERAGE=0.8)
    assert done.returncode == 3
    assert done.stderr == (
        "fashion-mnist-service: FASHION_COVERAGE: expected one of 0.9, 0.95, 0.99, for which the model was fitted, "
        "found 0.8\n"
    )


@pytest.mark.usefixtures("restored_logging")
def test_a_service_without_the_network_that_finds_garments_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.predictor.SEGMENTER", Segmenter(Path("/nowhere.onnx")))
    with pytest.raises(SystemExit) as caught:
        app_from_environment()
    assert caught.value.code == 3
    assert "found none that can be read" in capsys.readouterr().err


@pytest.mark.usefixtures("restored_logging")
def test_a_worker_warms_up_its_batch_sizes_and_requires_the_network_its_model_was_trained_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[tuple[Path, Sequence[int], int]] = []
    required: list[str | None] = []

    class Loaded(FirstPixelClassifier):
        def __init__(self, folder: Path, sizes: Sequence[int], threads: int) -> None:
            super().__init__()
            self.card = read_verified(folder)
            loaded.append((folder, sizes, threads))

    monkeypatch.setattr("app.predictor.SavedModelClassifier", Loaded)
    monkeypatch.setattr("app.predictor.SEGMENTER", SimpleNamespace(require=required.append))
    monkeypatch.setattr("app.main.cores_of_a_worker", lambda _: 7)
    app_from_environment()
    monkeypatch.setenv("FASHION_MAX_FORWARD_IMAGES", "3")
    monkeypatch.setenv("FASHION_THREADS", "5")
    app_from_environment()
    folder = Settings().model_dir
    assert loaded == [(folder, batch_sizes(32), 7), (folder, (1, 2, 3), 5)]
    assert required == [SEGMENTER.digest] * 2


@pytest.mark.usefixtures("restored_logging")
def test_a_worker_that_cannot_start_exits_with_the_code_that_stops_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FASHION_MODEL_DIR", "/nowhere")
    with pytest.raises(SystemExit) as caught:
        app_from_environment()
    assert caught.value.code == 3
    assert "[error] cannot start: /nowhere/model_card.json: expected" in capsys.readouterr().err


@pytest.mark.usefixtures("restored_logging")
def test_a_worker_that_cannot_start_is_not_counted_as_one_that_was_ready(tmp_path: Path) -> None:
    joined: list[object] = []
    tally = cast("Tally", SimpleNamespace(join=lambda: joined.append("joined")))
    for settings in (Settings(api_keys_file=tmp_path / "none"), Settings(coverage=0.8)):
        with pytest.raises(StartError, match="expected"):
            create_app(settings, FirstPixelClassifier(), tally)
    assert joined == []


@pytest.mark.parametrize(
    ("workers", "number", "code"),
    [(1, signal.SIGTERM, 0), (1, signal.SIGINT, 130), (2, signal.SIGTERM, 0), (2, signal.SIGINT, 0)],
)
def test_a_service_told_to_stop_while_it_loads_ends_without_becoming_ready(
    artifact: Path, workers: int, number: signal.Signals, code: int
) -> None:
    settings = environment(PORT=0, MODEL_DIR=artifact, WORKERS=workers)
    with subprocess.Popen([sys.executable, "-m", "app"], env=settings, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        lines: list[str] = []
        try:
            while "to listen on" not in "".join(lines):
                lines.append(process.stderr.readline())
            time.sleep(1)  # it loads by now
            process.send_signal(number)
        finally:
            lines += process.communicate(timeout=START_SECONDS)[1].splitlines()
    assert process.returncode == code
    assert not any("ready on" in line for line in lines)


def test_open_files_are_allowed_for_as_many_connections_as_the_settings_allow_or_the_log_says_so() -> None:
    code = (
        "import resource, sys; from app.processes.ports import allow_open_files; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (200, 1000)); "
        "print([allow_open_files(n) for n in (100, 900, 500, 2000)], resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout
    assert told == "[100, 900, 500, 1000] (1000, 1000)\n"
