"""Sends damaged pictures to the service and looks for failures, hangs and memory growth.

`python -m tests.fuzz.mutations --files 10000 --seed 0` exits with 1 if it finds any. The service runs in this process
with its default limits; only the classifier is a stand-in, since damage never gets that far.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi.testclient import TestClient

from app.http.problems import MEDIA_TYPE
from app.imaging.conversion import Mode
from app.imaging.decode import FORMATS
from app.main import create_app
from app.settings import Settings
from app.telemetry.logs import configure_logging
from tests.fakes import FirstPixelClassifier
from tests.fuzz.files import damaged_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from httpx2 import Response

MAX_SECONDS = 10
"""Longest allowed answer; most take milliseconds, but a damaged header may announce 50 megapixels to be filled."""

HANG_SECONDS = 120
"""After this time the process ends with a traceback of each thread, since nothing else would end it."""

STDERR = 2
"""File descriptor, used since tests replace `sys.stderr`."""

WARM_SHARE = 0.2
"""Share of the files after which memory is first measured: by then each decoder and each thread has been used."""

MAX_GROWTH_BYTES = 32 * 2**20
"""Most that memory may grow after the warm-up. The allocator alone varies by half of that; if decoded images were
kept, a few hundred files would exceed it."""

CODES = {413: {"image_too_large"}, 415: {"unsupported_media_type"}, 422: {"invalid_image"}}


@dataclass
class Report:
    """The results of a run.

    Attributes:
        outcomes: The number of files, by format and outcome: `answered`, the code of the refusal, or `wrong`.
        failures: A line for each answer that is undocumented or late, and one if memory grew too much.
        slowest_seconds: How long the slowest answer took.
        grown_bytes: Growth of resident memory after the warm-up.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0
    grown_bytes: int = 0

    def __str__(self) -> str:
        """Return a table of formats and outcomes, followed by the other measurements."""
        codes = sorted({code for _, code in self.outcomes})
        rows = [f"{'':6}" + "".join(f"{code:>24}" for code in codes)]
        rows += [f"{kind:6}" + "".join(f"{self.outcomes[kind, code]:>24}" for code in codes) for kind in FORMATS]
        rows.append(
            f"{self.outcomes.total()} files, slowest {self.slowest_seconds:.2f} s, "
            f"grown by {self.grown_bytes / 2**20:.1f} MiB, {len(self.failures)} failures"
        )
        return "\n".join(rows + self.failures)


def send(files: int, seed: int) -> Report:
    """Send so many damaged files, of all formats in turn, alternately as a body and as a form, in every mode."""
    report = Report()
    classifier = FirstPixelClassifier(before=lambda _: classifier.seen.clear())  # else it would keep every batch
    modes = tuple(Mode)
    warm_bytes = 0
    with TestClient(create_app(Settings(), classifier)) as client:
        for number, (kind, data) in enumerate(_by_turns(files, seed)):
            if number == int(files * WARM_SHARE):
                warm_bytes = _resident_bytes()
            faulthandler.dump_traceback_later(HANG_SECONDS, exit=True, file=STDERR)
            started = time.perf_counter()
            params = {"conversion": modes[number % len(modes)]}
            if number % 2:
                answer = client.post("/predict", params=params, content=data)
            else:
                answer = client.post("/predict", params=params, files={"file": data})
            seconds = time.perf_counter() - started
            result = outcome(answer)
            report.outcomes[kind, result or "wrong"] += 1
            report.slowest_seconds = max(report.slowest_seconds, seconds)
            if result is None:
                report.failures.append(f"file {number}, {kind}: answered {answer.status_code} {answer.text[:200]}")
            if seconds > MAX_SECONDS:
                report.failures.append(f"file {number}, {kind}: took {seconds:.1f} s")
        faulthandler.cancel_dump_traceback_later()
        report.grown_bytes = _resident_bytes() - warm_bytes
    if report.grown_bytes > MAX_GROWTH_BYTES:
        report.failures.append(f"expected to grow by at most {MAX_GROWTH_BYTES} bytes, grew by {report.grown_bytes}")
    return report


def main(arguments: list[str]) -> int:
    """Print the report; return 1 if there is any failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.mutations", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (default: %(default)s)")
    options = parser.parse_args(arguments)
    configure_logging(Settings(log_level="error"))
    report = send(options.files, options.seed)
    print(report)  # noqa: T201  what the command is for
    return int(bool(report.failures))


def _by_turns(files: int, seed: int) -> Iterator[tuple[str, bytes]]:
    sources = {kind: damaged_files(kind, files, seed) for kind in FORMATS}
    for number in range(files):
        kind = FORMATS[number % len(FORMATS)]
        yield kind, next(sources[kind])


def outcome(answer: Response) -> str | None:
    """Return `answered` or the code of a refusal; None for anything the service does not document for a picture."""
    if answer.status_code == 200:
        return "answered"
    if answer.headers["content-type"] != MEDIA_TYPE or not answer.json()["detail"].startswith("Expected "):
        return None
    code = str(answer.json()["code"])
    return code if code in CODES.get(answer.status_code, ()) else None


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    warnings.simplefilter("error", ResourceWarning)
    sys.exit(main(sys.argv[1:]))
