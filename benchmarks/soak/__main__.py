"""`python -m benchmarks.soak`: is the service correct, steady and constant in memory under load and bad input?"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from app.settings import Settings
from benchmarks.serving.alone import Alone
from benchmarks.serving.servers import ServerError, memory_bytes, running, wait_until_ready
from benchmarks.serving.systems import DEFAULT_LIMIT, OURS, ROOT
from benchmarks.soak.connection import Connection, request
from benchmarks.soak.drive import OpenLoad, closed_load
from benchmarks.soak.mix import Mix, Pictures, bad, good
from benchmarks.soak.record import Minute, Record, markdown
from training.command import natural, positive
from training.machine import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.soak.drive import Tally

CONNECTIONS = 16
"""Enough connections to find the full load."""

FULL_LOAD_SECONDS = 8
SHARE = 0.7
SAMPLE_SECONDS = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, write the table, and return 1 if something is not good enough."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=f"Load two workers at {SHARE:.0%} of what they can do, with good pictures and bad input, and check "
        "every answer. Ends with 1 at a wrong answer, a 5xx that is no honest 503, memory that grows or a p99 that is "
        "not steady. Up to five minutes are a trial, in which memory and p99 are not judged.",
    )
    parser.add_argument("--minutes", type=positive, default=30, metavar="N", help="how long (default: 30)")
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="decides pictures and order (default: 0)")
    parser.add_argument("--port", type=int, default=8150, metavar="N", help="port of the service (default: 8150)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table, as Markdown, there as well")
    given = parser.parse_args(arguments)
    try:
        record = soak(given.minutes, given.seed, given.port)
    except ServerError as error:
        parser.error(str(error))
    text = markdown(record)
    print(text)
    if given.output:
        given.output.write_text(text)
    complaints = list(record.complaints())
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return int(bool(complaints))


def soak(minutes: int, seed: int, port: int) -> Record:
    """Start the service, load it, and stop it."""
    artifact = ROOT / Settings().model_dir
    pictures = Pictures(seed)
    with Alone(1) as alone:
        kinds = good(pictures, alone.probabilities(artifact, pictures.all)) | {"bad": bad(pictures)}
    mix = Mix(kinds, np.random.default_rng(seed))
    # With one malloc arena for each thread, memory would vary by chance; the container sets this too.
    environment = {**OURS.environment(artifact, port), **DEFAULT_LIMIT, "MALLOC_ARENA_MAX": "2"}
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "log"
        with running(OURS.command(port), environment, ROOT, port, log) as process:
            wait_until_ready(process, lambda: asyncio.run(_ask_once(port)), log)
            return asyncio.run(_load(process.pid, port, mix, minutes, seed))


async def _ask_once(port: int) -> None:
    connection = Connection(port)
    await connection.ask(request("/health/ready", method="GET"))
    connection.close()


async def _load(leader: int, port: int, mix: Mix, minutes: int, seed: int) -> Record:
    """Find the full load, send a share of it, and record every minute.

    Args:
        leader: ID of the service's first process.
        port: The port that it listens on.
        mix: The requests to send.
        minutes: Length of the soak.
        seed: Kept in the record.
    """
    await closed_load(port, mix, CONNECTIONS, FULL_LOAD_SECONDS / 4)
    full = (await closed_load(port, mix, CONNECTIONS, FULL_LOAD_SECONDS)).answered / FULL_LOAD_SECONDS
    conditions = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "cores that service and load share": str(len(os.sched_getaffinity(0))),
        "workers": OURS.environment(Path(), port)["FASHION_WORKERS"],
        "seed": str(seed),
    }
    record = Record(conditions, full, SHARE * full)
    load = OpenLoad(port, mix, record.rate)
    sending = asyncio.create_task(load.run(60 * minutes))
    for number in range(1, minutes + 1):
        resident, proportional = await _weigh(leader, 60)
        if number == minutes:
            await sending  # its last answers, or faults, count as well
        record.minutes.append(_minute(load.take(), resident, proportional))
        one = record.minutes[-1]
        print(f"minute {number}: {one.answers:,} answers, p99 {one.p99_milliseconds:.1f} ms", file=sys.stderr)
    return record


async def _weigh(leader: int, seconds: float) -> tuple[int, int]:
    """Return the medians of resident and proportional memory in bytes, sampled for some seconds."""
    samples: list[tuple[int, int]] = []
    clock = asyncio.get_running_loop()
    end = clock.time() + seconds
    while (left := end - clock.time()) > 0:
        samples.append((memory_bytes(leader, "Rss"), memory_bytes(leader)))
        await asyncio.sleep(min(SAMPLE_SECONDS, left))
    resident, proportional = zip(*samples, strict=True)
    return int(median(resident)), int(median(proportional))


def _minute(tally: Tally, resident: int, proportional: int) -> Minute:
    return Minute(
        tally.answered,
        tally.right,
        tally.overloaded,
        tally.hung_up,
        dict(tally.faults),
        tally.percentile(50),
        tally.percentile(99),
        resident,
        proportional,
    )


if __name__ == "__main__":
    sys.exit(main())
