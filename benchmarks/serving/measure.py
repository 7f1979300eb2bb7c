"""Starts each server in turn, checks its answers, and loads it."""

from __future__ import annotations

import http.client
import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.serving import load
from benchmarks.serving.load import Bodies, LoadError
from benchmarks.serving.pictures import photograph, png
from benchmarks.serving.results import CONNECTIONS, Comparison
from benchmarks.serving.servers import ServerError, memory_bytes, running, wait_until_ready
from benchmarks.serving.systems import OURS
from training.data import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.serving.alone import Alone
    from benchmarks.serving.load import Outcome
    from benchmarks.serving.results import Results
    from benchmarks.serving.systems import Server, System

SAMPLE = 20
"""Number of pictures that each system has to answer right before it is loaded."""

TOLERANCE = 1e-3
"""Largest allowed difference of a probability from the artifact's own; ours is rounded to four digits."""

WARM_UP_CONNECTIONS = 16
TURNS = 3
"""How often a round compares the service with its parts: their ratio has to be more precise than each rate."""

PHOTO_CONNECTIONS = 8
PHOTO_SIZE = (400, 533)
LARGE_SIZE = (3024, 4032)
SIDES = (28, 100, 200, 400, 800, 1600, 3200)
"""Sides in pixels of the square photographs whose cost is plotted."""


class Bench:
    """The setup of a run, and its results so far."""

    def __init__(  # noqa: PLR0913  the parts of a run
        self,
        images: NDArray[np.uint8],
        baseline: Path,
        shipped: Path,
        *,
        alone: Alone,
        results: Results,
        seconds: int,
        port: int,
        scratch: Path,
    ) -> None:
        """Prepare the pictures.

        Args:
            images: uint8 `[n, 28, 28]`.
            baseline: The artifact that all servers serve.
            shipped: The artifact that only ours serves.
            alone: Measures the parts without the server.
            results: Where measurements are recorded.
            seconds: How long each load takes.
            port: The first of three ports that servers listen on.
            scratch: A folder for temporary files.
        """
        self._baseline = baseline
        self._shipped = shipped
        self._alone = alone
        self._results = results
        self._seconds = seconds
        self._port = port
        self._scratch = scratch
        self._images = images
        self._native = [png(image) for image in images]
        self._photographs = self._taken(PHOTO_SIZE, 40)
        self._large = self._taken(LARGE_SIZE, 3)
        self._bodies: dict[str, Bodies] = {}
        self._raw = OURS.systems[0]

    def compare(self, server: Server) -> None:
        """Load each of a server's systems with every number of connections; leave the server out if it fails."""
        with self._left_out_if_it_fails(server), self._serving(server, self._baseline) as leader:
            for system in server.systems:
                for connections in CONNECTIONS:
                    outcome = self._load(system, self._native, "native", connections)
                    self._results.add(system.name, connections, outcome)
                    _say(f"{system.name} at {connections}", outcome)
            self._results.memory_bytes.setdefault(server.name, []).append(memory_bytes(leader))

    def compare_shipped(self) -> None:
        """Load ours with the shipped network, and measure its SavedModel alone with the same decoding, in turns."""
        with self._left_out_if_it_fails(OURS), self._serving(OURS, self._shipped):
            for _ in range(TURNS):
                self._results.shipped.alone.append(self._alone.classify(self._shipped, self._native, self._seconds))
                outcome = self._load(self._raw, self._native, "native", 64)
                self._beside(self._results.shipped, outcome, "shipped network")

    def compare_photographs(self) -> None:
        """Load ours with photographs, and measure their preparation alone, in turns; then add small requests."""
        with self._left_out_if_it_fails(OURS), self._serving(OURS, self._baseline):
            for _ in range(TURNS):
                self._results.photographs.alone.append(self._alone.convert(self._photographs, self._seconds))
                outcome = self._load(self._raw, self._photographs, "photographs", PHOTO_CONNECTIONS)
                self._beside(self._results.photographs, outcome, "photographs")
            self._mix("nothing else", [], 0)
            self._mix("400x533 photographs on 2 connections", self._photographs, 2)
            self._mix("12-megapixel photographs on 1 connection", self._large, 1)

    def compare_sizes(self) -> None:
        """Load ours with photographs of each size, and measure their preparation alone."""
        with self._left_out_if_it_fails(OURS), self._serving(OURS, self._baseline):
            for side in SIDES:
                photographs = self._taken((side, side), 10)
                comparison = self._results.sizes.setdefault(side * side, Comparison())
                comparison.alone.append(self._alone.convert(photographs, self._seconds))
                outcome = self._load(self._raw, photographs, f"{side} pixels", PHOTO_CONNECTIONS)
                self._beside(comparison, outcome, f"photographs of {side}x{side}")

    @contextmanager
    def _left_out_if_it_fails(self, server: Server) -> Iterator[None]:
        """Record why a server failed, and discard its measurements: half of them cannot be compared with anything."""
        try:
            yield
        except (ServerError, LoadError) as error:
            print(f"{server.name} is left out: {error}", file=sys.stderr)
            self._results.refused[server.name] = str(error)
            for system in server.systems:
                self._results.loads.pop(system.name, None)

    @contextmanager
    def _serving(self, server: Server, artifact: Path) -> Iterator[int]:
        """Run a server, check its answers to a sample of the pictures, warm it up, and yield its first process's ID.

        Raises:
            ServerError: It does not start, or its answers differ from the artifact's.
        """
        expected = self._alone.probabilities(artifact, self._native[:SAMPLE])
        log = self._scratch / f"{server.name}.log"
        environment = server.environment(artifact, self._port)
        with running(server.command(self._port), environment, self._scratch, self._port, log) as process:

            def check() -> None:
                for system in server.systems:
                    require_answers(system, self._port, self._native[:SAMPLE], expected)

            wait_until_ready(process, check, log)
            check()  # once more, now with all its workers
            for system in server.systems:
                load.run(self._url(system), self._as_sent(system, self._native, "native"), WARM_UP_CONNECTIONS, 1)
            yield process.pid

    def _mix(self, what: str, beside: Sequence[bytes], connections: int) -> None:
        """Load ours with small requests while something else is sent over separate connections."""
        started = beside and load.start(
            self._url(self._raw), self._as_sent(self._raw, beside, what), connections, self._seconds
        )
        outcomes = {
            f"small requests, beside {what}": self._load(self._raw, self._native, "native", WARM_UP_CONNECTIONS)
        }
        if started:
            outcomes[f"{what}, themselves"] = load.finish(started)
        for label, outcome in outcomes.items():
            self._results.mixed.setdefault(label, []).append(outcome)
            _say(label, outcome)

    def _load(self, system: System, pictures: Sequence[bytes], name: str, connections: int) -> Outcome:
        return load.run(self._url(system), self._as_sent(system, pictures, name), connections, self._seconds)

    def _as_sent(self, system: System, pictures: Sequence[bytes], name: str) -> Bodies:
        """Return the pictures as request bodies for a system; the files are written once."""
        folder = f"{system.name} {name}"
        if folder not in self._bodies:
            bodies = [system.body(picture) for picture in pictures]
            self._bodies[folder] = Bodies(self._scratch / "bodies" / folder, bodies, system.content_type)
        return self._bodies[folder]

    def _url(self, system: System) -> str:
        return f"http://127.0.0.1:{self._port}{system.path}"

    def _taken(self, size: tuple[int, int], count: int) -> list[bytes]:
        rng = np.random.default_rng(0)
        return [photograph(image, size, rng) for image in self._images[:count]]

    @staticmethod
    def _beside(comparison: Comparison, outcome: Outcome, what: str) -> None:
        comparison.service.append(outcome.rate)
        comparison.errors += outcome.errors
        _say(f"{what}, beside {comparison.alone[-1]:,.0f}/s alone", outcome)


def require_answers(system: System, port: int, pictures: Sequence[bytes], expected: NDArray[np.float32]) -> None:
    """Send each picture, and compare the answer with the artifact's.

    Args:
        system: How to send it.
        port: The port of the server.
        pictures: PNGs.
        expected: The artifact's probabilities for them, float32 `[n, 10]`.

    Raises:
        ServerError: There is no valid answer, or its probabilities differ.
    """
    received = np.array([_ask(system, port, picture) for picture in pictures])
    difference = float(np.abs(received - expected).max())
    if not difference <= TOLERANCE:  # written this way, NaN is refused too
        msg = f"{system.name}: expected the artifact's probabilities within {TOLERANCE}, found them off by {difference}"
        raise ServerError(msg)


def _ask(system: System, port: int, picture: bytes) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=load.TIMEOUT_SECONDS)
    try:
        connection.request("POST", system.path, system.body(picture), {"Content-Type": system.content_type})
        response = connection.getresponse()
        body = response.read()
        if response.status != http.HTTPStatus.OK:
            msg = f"{system.name}: expected status 200, found {response.status}: {body[:200]!r}"
            raise ServerError(msg)
        probabilities = system.read(json.loads(body))
        if len(probabilities) != len(LABELS):
            msg = f"{system.name}: expected {len(LABELS)} probabilities, found {len(probabilities)}"
            raise ServerError(msg)
        return probabilities  # noqa: TRY300  what follows are failures
    except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError) as error:
        msg = f"{system.name}: expected ten probabilities as JSON, found {error!r}"
        raise ServerError(msg) from error
    finally:
        connection.close()


def _say(what: str, outcome: Outcome) -> None:
    print(f"  {what}: {outcome.rate:,.0f}/s, {outcome.errors} errors", file=sys.stderr)
