"""`python -m benchmarks.probes`: how fast do health and metrics answer while the service is under load? Needs wrk."""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np

from benchmarks.serving import load
from training.command import natural, positive
from training.markdown import table

if TYPE_CHECKING:
    from collections.abc import Sequence

PATHS = ("/health/live", "/health/ready", "/metrics")
PAUSE_SECONDS = 0.02


def at_least_two(text: str) -> int:
    """Parse an integer of 2 or more: in the last second nothing is asked, since the load may end."""
    return natural(text, 2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the service with a small picture, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probes", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="a service that runs")
    parser.add_argument(
        "--seconds", type=at_least_two, default=10, metavar="N", help="how long to load it (default: 10)"
    )
    parser.add_argument("--connections", type=positive, default=64, metavar="N", help="that ask (default: 64)")
    given = parser.parse_args(arguments)
    try:
        with closing(HTTPConnection(urlsplit(given.url).netloc, timeout=load.TIMEOUT_SECONDS)) as connection:
            connection.connect()
    except OSError as error:
        parser.error(f"expected a service at {given.url}, found none: {error}")
    with tempfile.TemporaryDirectory() as folder:
        bodies = load.Bodies(Path(folder) / "bodies", [Path("docs/boot.png").read_bytes()], "application/octet-stream")
        try:
            wrk = load.start(f"{given.url}/predict", bodies, given.connections, given.seconds)
        except OSError as error:
            parser.error(f"expected wrk to load the service with: {error}")
        try:
            times = ask(given.url, time.monotonic() + given.seconds - 1)
            outcome = load.finish(wrk)
        except (load.LoadError, OSError) as error:
            wrk.kill()
            parser.error(str(error))
    print(f"beside {outcome.rate:,.0f} predictions a second over {given.connections} connections\n")
    rows = [
        (path, f"{len(of)}", *(f"{1000 * np.quantile(of, share):.1f}" for share in (0.5, 0.99, 1)))
        for path, of in times.items()
    ]
    print(table(("path", "n", "p50 ms", "p99 ms", "slowest ms"), rows))


def ask(url: str, until: float) -> dict[str, list[float]]:
    """Request each path in turn until a moment of `time.monotonic`; return how many seconds each answer took.

    Each request opens a new connection, so that every worker is asked.

    Raises:
        LoadError: An answer has a status other than 200.
    """
    times: dict[str, list[float]] = {path: [] for path in PATHS}
    while time.monotonic() < until:
        for path, of in times.items():
            started = time.perf_counter()
            with closing(HTTPConnection(urlsplit(url).netloc, timeout=load.TIMEOUT_SECONDS)) as connection:
                connection.request("GET", path)
                response = connection.getresponse()
                response.read()
            of.append(time.perf_counter() - started)
            if response.status != HTTPStatus.OK:
                msg = f"{path}: expected 200, received {response.status}"
                raise load.LoadError(msg)
            time.sleep(PAUSE_SECONDS)
    return times


if __name__ == "__main__":
    main()
