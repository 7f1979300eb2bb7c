"""Loads a server with wrk, which sends a list of bodies in turn."""

from __future__ import annotations

import json
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SCRIPT = Path(__file__).with_name("load.lua")

TIMEOUT_SECONDS = 10
"""Longer than a load, so that slow answers count with their full time and none is cut off."""


class LoadError(Exception):
    """wrk failed, for example because the server is gone; the message says how."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one load measured.

    Attributes:
        rate: Answers a second.
        p50_milliseconds: Half of the answers took no longer.
        p99_milliseconds: 99 of 100 answers took no longer.
        errors: Statuses of 400 and more, socket failures, and timeouts together.
        load_cores: Cores that the load itself used, of those that it shares with the server.
    """

    rate: float
    p50_milliseconds: float
    p99_milliseconds: float
    errors: int
    load_cores: float


class Bodies:
    """Bodies of one content type, written as files that wrk can read."""

    def __init__(self, folder: Path, bodies: Sequence[bytes], content_type: str) -> None:
        """Write the files."""
        folder.mkdir(parents=True)
        paths = [folder / str(number) for number in range(len(bodies))]
        for path, body in zip(paths, bodies, strict=True):
            path.write_bytes(body)
        self.content_type = content_type
        self.list = folder / "list"
        self.list.write_text("".join(f"{path}\n" for path in paths))


def start(url: str, bodies: Bodies, connections: int, seconds: float) -> subprocess.Popen[str]:
    """Start to load a server from one thread, over keep-alive connections."""
    options = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds:g}s"]
    options += ["--timeout", f"{TIMEOUT_SECONDS}s", "--script", str(SCRIPT)]
    command = ["wrk", *options, url, "--", str(bodies.list), bodies.content_type]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603  ours


def finish(wrk: subprocess.Popen[str]) -> Outcome:
    """Wait for a load that was started, and return its outcome."""
    before = _processor_seconds_of_children()
    output, _ = wrk.communicate()
    return parse(output, _processor_seconds_of_children() - before)


def run(url: str, bodies: Bodies, connections: int, seconds: float) -> Outcome:
    """Load a server, and return the outcome."""
    return finish(start(url, bodies, connections, seconds))


def parse(output: str, processor_seconds: float) -> Outcome:
    """Parse the line that load.lua writes at the end.

    Args:
        output: All that wrk printed.
        processor_seconds: Processor time that wrk itself used.

    Raises:
        LoadError: There is no such line.
    """
    *_, last = output.strip().splitlines() or [""]
    try:
        seen = json.loads(last)
        if not seen["requests"]:  # no answer came during the load: each takes at least that long
            seen["p50"] = seen["p99"] = seen["microseconds"]
        return Outcome(
            rate=1e6 * seen["requests"] / seen["microseconds"],
            p50_milliseconds=seen["p50"] / 1000,
            p99_milliseconds=seen["p99"] / 1000,
            errors=seen["status"] + seen["socket"] + seen["timeout"],
            load_cores=1e6 * processor_seconds / seen["microseconds"],
        )
    except (ValueError, TypeError, KeyError) as error:
        msg = f"expected wrk to end with a line of JSON, found {last!r}"
        raise LoadError(msg) from error


def _processor_seconds_of_children() -> float:
    """Return the processor time of child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
