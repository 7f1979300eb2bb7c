"""`python -m benchmarks.serving`: how fast is the service compared with others that serve the same artifact?"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from app.settings import Settings
from benchmarks.serving import figures, report
from benchmarks.serving.alone import Alone
from benchmarks.serving.measure import Bench
from benchmarks.serving.pictures import native_images
from benchmarks.serving.results import Results
from benchmarks.serving.systems import OURS, ROOT, SERVERS
from benchmarks.serving.targets import targets
from training.__main__ import ARTIFACTS
from training.machine import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.serving.systems import Server

CORES = 2
PICTURES = 300
PAGE = ROOT / "benchmarks" / "README.md"
MEASURED = ROOT / "benchmarks" / "serving" / "measured"
"""Folder of the last whole run: its figures, and all its measurements as JSON."""

FIGURES = {
    "connections.png": "Rates and slow answers against connections",
    "sizes.png": "What a photograph costs, against its size",
}


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description="Measure the service beside others. A whole run rewrites the tables of benchmarks/README.md; with "
        "--only or --quick they are printed. Ends with 1 when a target is missed or a server could not be measured.",
    )
    made.add_argument("--seconds", type=int, default=3, metavar="N", help="length of each load (default: 3)")
    made.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each load is run (default: 3)")
    made.add_argument("--only", nargs="+", choices=[server.name for server in SERVERS], help="measure these servers")
    made.add_argument("--quick", action="store_true", help="a smoke run: one round of one second")
    made.add_argument(
        "--port", type=int, default=8200, metavar="N", help="servers use this and two more (default: 8200)"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, report, and return the process's exit code."""
    given = parser().parse_args(arguments)
    if given.quick:
        given.seconds = given.rounds = 1
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read by TensorFlow when it is first imported
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped as well
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])  # servers and wrk inherit it
    servers = [server for server in SERVERS if not given.only or server.name in given.only]
    if not shutil.which("wrk"):
        print("benchmarks.serving: expected wrk, found none; on Debian and Ubuntu, `apt install wrk`", file=sys.stderr)
        return 1
    results = measure(servers, given.seconds, given.rounds, given.port)
    reached = targets(results)
    text = report.markdown(results, servers, reached)
    if given.only or given.quick:
        print(text)
    else:
        publish(results, text)
    return int(bool(results.refused) or any(target.missed for target in reached))


def measure(servers: Sequence[Server], seconds: int, rounds: int, port: int) -> Results:
    """Run all rounds, each beginning with another server; a server that fails once is left out of the rest."""
    images = native_images(PICTURES)
    results = Results(conditions=conditions(len(images), seconds, rounds))
    for server in servers:
        if server.is_installed:
            results.versions[server.name] = server.version()
        else:
            results.refused[server.name] = "not installed; `make bench` does it"
    with tempfile.TemporaryDirectory() as scratch, Alone(CORES) as alone:
        bench = Bench(
            images,
            baseline(),
            ROOT / Settings().model_dir,
            alone=alone,
            results=results,
            seconds=seconds,
            port=port,
            scratch=Path(scratch),
        )
        for turn in range(rounds):
            print(f"round {turn + 1} of {rounds}", file=sys.stderr)
            first = turn % len(servers)
            for server in (*servers[first:], *servers[:first]):
                if server.name not in results.refused:
                    bench.compare(server)
            if OURS in servers and OURS.name not in results.refused:
                bench.compare_shipped()
                bench.compare_photographs()
        if OURS in servers and OURS.name not in results.refused:
            bench.compare_sizes()
    return results


def conditions(pictures: int, seconds: int, rounds: int) -> dict[str, str]:
    """Describe the conditions of a run."""
    return {
        "Date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "TensorFlow": version("tensorflow-cpu"),
        "cores that server and load share": str(len(os.sched_getaffinity(0))),
        "rounds": f"{rounds} of {seconds} s each, in rotating order; the median (lowest to highest)",
        "pictures": f"{pictures} different 28x28 PNGs of Fashion-MNIST",
    }


def baseline() -> Path:
    """Return the artifact of the `mlp`, which is trained first if it does not exist."""
    artifact = ROOT / ARTIFACTS["mlp"]
    if not artifact.exists():
        print("training the mlp, once: a few minutes", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "training", "--network", "mlp"], cwd=ROOT, check=True)
    return artifact


def publish(results: Results, text: str) -> None:
    """Save a whole run with its figures, and show it on the page."""
    MEASURED.mkdir(exist_ok=True)
    (MEASURED / "results.json").write_text(json.dumps(asdict(results), indent=1) + "\n")
    figures.draw_connections(results, MEASURED / "connections.png")
    figures.draw_sizes(results, CORES, MEASURED / "sizes.png")
    shown = [f"![{title}]({(MEASURED / name).relative_to(PAGE.parent)})" for name, title in FIGURES.items()]
    report.write(PAGE, "\n\n".join([text, *shown]))


if __name__ == "__main__":
    sys.exit(main())
