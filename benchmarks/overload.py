"""`python -m benchmarks.overload`: does throughput hold with eight times as many clients as the service can serve?"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvloop

from app.settings import Settings
from benchmarks.callers import Load, Picture, Seen
from benchmarks.serving.pictures import native_images, png
from benchmarks.serving.servers import ServerError, memory_bytes, running, wait_until_ready
from benchmarks.serving.systems import DEFAULT_LIMIT, OURS, ROOT, raw
from training.command import positive
from training.markdown import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FULL_LOAD = 64
"""Connections: a full batch for each of two workers. Half and twice as many are tried for the best throughput."""

TIMES = 8

PICTURES = 100
WARM_UP_SECONDS = 1.0

LEAST_SHARE = 0.9
MOST_P99 = 3.0
MOST_GROWTH = 1.05


@dataclass(frozen=True, slots=True)
class Finding:
    """One promise, what was measured, and whether it was kept."""

    promise: str
    measured: str
    kept: bool

    def cells(self) -> tuple[str, str, str]:
        """Return a row of the table."""
        return self.promise, self.measured, "yes" if self.kept else "**no**"


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.overload",
        description="Load the service fully, then let eight times as many clients ask, which wait as refusals tell "
        "them. Ends with 1 when a target is missed.",
    )
    made.add_argument("--url", help="a service that runs already; by default one is started, whose memory is watched")
    made.add_argument("--seconds", type=float, default=4, metavar="N", help="length of each load (default: 4)")
    made.add_argument(
        "--rounds", type=positive, default=3, metavar="N", help="full load and overload in turn (default: 3)"
    )
    made.add_argument(
        "--connections", type=positive, default=FULL_LOAD, metavar="N", help=f"full load (default: {FULL_LOAD})"
    )
    made.add_argument("--quick", action="store_true", help="a smoke run: one round of one second")
    made.add_argument("--port", type=int, default=8200, metavar="N", help="of the service started (default: 8200)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, report, and return the process's exit code."""
    given = parser().parse_args(arguments)
    if given.quick:
        given.seconds, given.rounds = 1.0, 1
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    url = given.url or f"http://127.0.0.1:{given.port}"
    try:
        with nullcontext() if given.url else serving(given.port) as leader:
            pictures = ask_at_rest(url)
            connections, seconds, rounds = given.connections, given.seconds, given.rounds
            findings = uvloop.run(
                measure(url, pictures, connections=connections, seconds=seconds, rounds=rounds, leader=leader)
            )
    except (ServerError, OSError) as error:
        print(f"benchmarks.overload: {error}", file=sys.stderr)
        return 1
    print(table(("promise", "measured", "kept"), (finding.cells() for finding in findings), left=3))
    return 0 if all(finding.kept for finding in findings) else 1


@contextmanager
def serving(port: int) -> Iterator[int]:
    """Run the service with the shipped artifact, and yield the ID of its first process."""
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "log"
        environment = {**OURS.environment(ROOT / Settings().model_dir, port), **DEFAULT_LIMIT}
        with running(OURS.command(port), environment, ROOT, port, log) as process:
            wait_until_ready(process, lambda: ask_at_rest(f"http://127.0.0.1:{port}", 1), log)
            yield process.pid


def ask_at_rest(url: str, count: int = PICTURES) -> list[Picture]:
    """Send pictures one after the other, and keep each request with its answer.

    Raises:
        ServerError: An answer has a status other than 200.
    """
    made = []
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    for body in map(raw, map(png, native_images(count))):
        connection.request("POST", "/predict", body)
        response = connection.getresponse()
        answer = response.read()
        if response.status != HTTPStatus.OK:
            msg = f"expected status 200 at rest, found {response.status}: {answer[:200]!r}"
            raise ServerError(msg)
        head = f"POST /predict HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Type: image/png\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        probabilities = tuple(one["probability"] for one in json.loads(answer)["probabilities"])
        made.append(Picture(head.encode() + body, probabilities))
    connection.close()
    return made


async def measure(  # noqa: PLR0913  the parts of a run
    url: str, pictures: Sequence[Picture], *, connections: int, seconds: float, rounds: int, leader: int | None
) -> list[Finding]:
    """Load the service, and check each promise.

    Args:
        url: Where the service is.
        pictures: The requests to send.
        connections: Number of connections at full load.
        seconds: How long each load is measured.
        rounds: How often full load and overload are compared.
        leader: ID of the service's first process, or None if its memory cannot be measured.
    """
    parts = urlsplit(url)
    address = parts.hostname or "127.0.0.1", parts.port or 80

    async def load(connections: int, what: str, *, patient: bool = True) -> Seen:
        seen = await Load(address, pictures, patient=patient).run(connections, min(WARM_UP_SECONDS, seconds), seconds)
        refused = sum(seen.refusals.values()) / seen.seconds
        print(
            f"{what}, {connections} connections: {seen.rate:,.0f} accepted and {refused:,.0f} refused a second, "
            f"p50 {seen.percentile(50):.0f}, p99 {seen.percentile(99):.0f} ms",
            file=sys.stderr,
        )
        return seen

    loads: dict[int, list[Seen]] = {connections // 2: [], connections: [], 2 * connections: []}
    over, memory = list[Seen](), list[int]()
    for _ in range(rounds):
        for some, seen in loads.items():
            seen.append(await load(some, "no overload"))
        over.append(await load(TIMES * connections, "overload"))
        if leader:
            memory.append(memory_bytes(leader))
    impatient = await load(TIMES * connections, "overload by clients that do not wait", patient=False)
    best = max(mean(one.rate for one in seen) for seen in loads.values())
    every = [*chain.from_iterable(loads.values()), *over, impatient]
    return [*pace(best, loads[connections], over), *_honesty(every), _impatience(best, impatient), *growth(memory)]


def pace(best: float, full: Sequence[Seen], over: Sequence[Seen]) -> list[Finding]:
    """Compare throughput under overload with the best, and latency with that at full load."""
    share = mean(one.rate for one in over) / best
    slow, usual = (mean(one.percentile(99) for one in some) for some in (over, full))
    return [
        Finding(f"at least {LEAST_SHARE:.0%} of the best throughput stays", f"{share:.1%}", share >= LEAST_SHARE),
        Finding(
            f"p99 of accepted requests at most {MOST_P99:g} times that at full load",
            f"{slow:.0f} to {usual:.0f} ms: {slow / usual:.2f}",
            slow <= MOST_P99 * usual,
        ),
    ]


def growth(memory: Sequence[int]) -> list[Finding]:
    """Compare memory in bytes after the first and the last overload; return nothing if there was only one."""
    if len(memory) < 2:  # noqa: PLR2004  two ends
        return []
    text = f"{memory[0] / 2**20:.0f} MiB after the first overload, {memory[-1] / 2**20:.0f} after the last"
    promise = f"memory grows to at most {MOST_GROWTH:.2f} times"
    return [Finding(promise, text, memory[-1] <= MOST_GROWTH * memory[0])]


def _honesty(loads: Sequence[Seen]) -> list[Finding]:
    """Check refusals, failures, and the answers that were compared."""
    refusals: Counter[tuple[int, int | None]] = sum((one.refusals for one in loads), Counter())
    failures: Counter[str] = sum((one.failures for one in loads), Counter())
    checked, wrong = sum(one.checked for one in loads), sum(one.wrong for one in loads)
    refused = ", ".join(f"{n:,} with {status} and Retry-After {wait}" for (status, wait), n in refusals.items())
    failed = ", ".join(f"{n} {why}" for why, n in failures.items())
    honest = all(status == HTTPStatus.SERVICE_UNAVAILABLE and wait for status, wait in refusals)
    return [
        Finding("every refusal is 503 and says when to come back", refused or "none", honest and bool(refusals)),
        Finding("no request without an answer", failed or "0", not failures),
        Finding("no wrong answer among those checked", f"{wrong} of {checked:,}", not wrong and checked > 0),
    ]


def _impatience(best: float, impatient: Seen) -> Finding:
    """Compare throughput with the best while refusals cost time; up to a second of the latency is the clients' own."""
    share = impatient.rate / best
    refused = sum(impatient.refusals.values()) / impatient.seconds
    text = f"{share:.1%}, p99 {impatient.percentile(99):.0f} ms, and {refused:,.0f} refusals a second"
    return Finding(f"at least {LEAST_SHARE:.0%} where refused clients do not wait", text, share >= LEAST_SHARE)


if __name__ == "__main__":
    sys.exit(main())
