"""Probes while both workers are overloaded."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import time
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.soak.connection import request
from benchmarks.soak.drive import closed_load
from benchmarks.soak.mix import Pictures, Request, has_status
from tests.faults.conftest import LISTEN, START_SECONDS, free_port, sockets, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.synchronize import Event

    from tests.faults.conftest import Service

pytestmark = pytest.mark.faults

PATHS = ("/health/live", "/health/ready", "/metrics")
MOST_SECONDS = 0.05
ROUNDS = 3
LOAD_SECONDS = 10
CONNECTIONS = 32
TRIVIAL = "a trivial server"
EVERY_SECONDS = 0.02
FEWEST_PROBES = 50
"""A round counts only with more probes of each path than this; with fewer, the machine was too busy to measure."""


def load(port: int, seconds: float, begun: Event) -> None:
    """Send small pictures and photographs in turn. This runs in its own process, so that it delays no probe."""
    pictures = Pictures(seed=0)
    pairs = zip(itertools.cycle(pictures.native), itertools.cycle(pictures.photographs), strict=False)
    requests = (Request("picture", request("/predict", picture), has_status(200)) for pair in pairs for picture in pair)
    begun.set()
    tally = asyncio.run(closed_load(port, requests, CONNECTIONS, seconds))
    print(
        f"\n{tally.right / seconds:.0f} pictures a second, half of them photographs; p99 {tally.percentile(99):.0f} ms"
    )
    assert tally.right
    assert not tally.faults


def serve_trivially(port: int) -> None:
    """Answer every request with the same bytes: no server on this machine can be faster."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
            await server.serve_forever()

    asyncio.run(serve())


@contextmanager
def serving_trivially(port: int) -> Iterator[None]:
    process = get_context("spawn").Process(target=serve_trivially, args=(port,))
    process.start()
    try:
        wait_until(lambda: bool(sockets(port, LISTEN)), "the trivial server listens")
        yield
    finally:
        process.terminate()
        process.join()


def seconds_to_answer(port: int, path: str) -> float:
    """Send a request on a new connection, which any worker may get, as a probe does; return how long it took."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    assert connection.getresponse().read()
    connection.close()
    return time.perf_counter() - started


def test_probes_are_answered_within_50_milliseconds(two_workers: Service) -> None:
    """The time that a trivial server takes at that moment is allowed on top, and the best of three rounds counts.

    Other work on the machine can only make answers slower, and then it slows down those of every server.
    """
    with serving_trivially(trivial_port := free_port()):
        assert any(round_of_probes(two_workers.port, trivial_port) for _ in range(ROUNDS))


def round_of_probes(port: int, trivial_port: int) -> bool:
    """Probe under load, and return whether all paths were fast enough."""
    seconds: dict[str, list[float]] = {path: [] for path in (*PATHS, TRIVIAL)}
    begun = get_context("spawn").Event()
    loading = get_context("spawn").Process(target=load, args=(port, LOAD_SECONDS, begun))
    loading.start()
    assert begun.wait(START_SECONDS)
    time.sleep(1)
    while loading.is_alive():
        for path in PATHS:
            seconds[path].append(seconds_to_answer(port, path))
        seconds[TRIVIAL].append(seconds_to_answer(trivial_port, "/"))
        time.sleep(EVERY_SECONDS)
    loading.join()
    assert loading.exitcode == 0
    p50, p99 = ({path: float(np.percentile(some, share)) for path, some in seconds.items()} for share in (50, 99))
    for path, some in seconds.items():
        print(f"{path}: {len(some)} times, p50 {1000 * p50[path]:.1f}, p99 {1000 * p99[path]:.1f} ms")
    return len(seconds[TRIVIAL]) > FEWEST_PROBES and all(p99[path] <= MOST_SECONDS + p99[TRIVIAL] for path in PATHS)
