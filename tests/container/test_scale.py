"""Two replicas behind nginx, one of which is killed under load."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx2
import pytest

from benchmarks.soak.connection import request
from benchmarks.soak.drive import closed_load
from benchmarks.soak.mix import Pictures, Request, has_status
from tests.app.test_routes import problem
from tests.container.test_container import Deployment, docker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.soak.drive import Tally

pytestmark = pytest.mark.container

LOAD_SECONDS = 10
KILL_AFTER_SECONDS = 3
CONNECTIONS = 8


@pytest.fixture(scope="module")
def scaled() -> Iterator[Deployment]:
    deployment = Deployment(f"test-{uuid.uuid4().hex[:8]}")
    try:
        deployment.compose("build", "replica", "proxy")
        deployment.compose("up", "-d", "--wait", "--wait-timeout", "180", "proxy")
        yield deployment
    finally:
        with suppress(AssertionError):  # whatever happens, remove the containers
            print(deployment.compose("--profile", "scale", "logs", "--tail", "50"))  # noqa: T201  shown when a test fails
        deployment.compose("--profile", "scale", "down", "-v", "--remove-orphans", "-t", "5", "--rmi", "local")


def test_the_proxy_passes_request_ids_both_ways(scaled: Deployment) -> None:
    url = f"http://{scaled.compose('port', 'proxy', '8000')}/health/ready"
    assert httpx2.get(url, headers={"X-Request-ID": "mine-1"}).headers["X-Request-ID"] == "mine-1"
    assert len(httpx2.get(url).headers["X-Request-ID"]) == 32


def test_the_proxy_passes_a_body_as_large_as_a_batch_may_be(scaled: Deployment) -> None:
    url = f"http://{scaled.compose('port', 'proxy', '8000')}/predict/batch"
    files = [("files", (f"{number}.bin", bytes(9 * 2**20))) for number in range(7)]
    results = httpx2.post(url, files=files, timeout=60).raise_for_status().json()["results"]
    assert [one["problem"]["code"] for one in results] == ["unsupported_media_type"] * 7


def test_the_errors_of_the_proxy_itself_are_problems_too(scaled: Deployment) -> None:
    url = f"http://{scaled.compose('port', 'proxy', '8000')}"
    too_large = httpx2.post(f"{url}/predict/batch", content=bytes(64 * 2**20 + 1), timeout=60)
    assert problem(too_large) == (413, "payload_too_large")
    assert problem(httpx2.get(f"{url}/metrics")) == (404, "not_found")


def test_no_request_fails_when_one_of_two_replicas_is_killed(scaled: Deployment) -> None:
    port = int(scaled.compose("port", "proxy", "8000").rpartition(":")[2])
    pictures = Pictures(seed=0)
    predictions = itertools.cycle(
        Request("picture", request("/predict", picture), has_status(200)) for picture in pictures.all
    )
    first, second = scaled.compose("ps", "-q", "replica").split()

    async def load_and_kill() -> Tally:
        loading = asyncio.create_task(closed_load(port, predictions, CONNECTIONS, LOAD_SECONDS))
        await asyncio.sleep(KILL_AFTER_SECONDS)
        await asyncio.to_thread(docker, "kill", first)
        return await loading

    tally = asyncio.run(load_and_kill())
    print(f"\n{tally.right} predictions, p99 {tally.percentile(99):.0f} ms, slowest {tally.percentile(100):.0f} ms")  # noqa: T201  measured
    assert docker("inspect", "-f", "{{.State.Status}}", first, second).split() == ["exited", "running"]
    assert tally.right == tally.answered > 100
    assert not tally.faults


def test_a_proxy_being_stopped_answers_requests_in_progress(scaled: Deployment) -> None:
    # Must be the last in this module: the others use the proxy that it stops.
    container = scaled.compose("ps", "-q", "proxy")
    port = int(scaled.compose("port", "proxy", "8000").rpartition(":")[2])
    message = request("/predict", Pictures(seed=0).all[0])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, ThreadPoolExecutor() as threads:
        connection.sendall(message[:-1])
        stopped = threads.submit(scaled.compose, "stop", "proxy")
        while not stopped.done() and _answers(port):
            time.sleep(0.1)
        connection.sendall(message[-1:])
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        stopped.result()
    assert docker("inspect", "-f", "{{.State.ExitCode}}", container) == "0"


def _answers(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health/live").is_success
    except httpx2.TransportError:
        return False
