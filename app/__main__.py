"""`python -m app`: serves until it is told to stop; `python -m app predict`: classifies pictures and ends."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from app.command_line import add_arguments, find_pictures, run
from app.cores import worker_count
from app.errors import StartError
from app.logs import configure_logging
from app.model_card import read_verified
from app.ports import shared
from app.settings import read_settings
from app.tabulate import Listing
from app.tally import Tally
from app.worker import build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve, or do what the arguments ask for instead."""
    parser = argparse.ArgumentParser(
        prog="python -m app", description="Serve until told to stop, as the environment says (FASHION_PORT and others)."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    predict_parser = commands.add_parser("predict", help="classify pictures without a server")
    add_arguments(predict_parser)
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read by TensorFlow when it is first imported
    try:
        settings = read_settings()
        if options.command == "predict":
            return predict(options, settings, predict_parser)
        read_verified(settings.model_dir)  # each worker looks again; here it stops the start before there are any
    except StartError as error:
        print(f"fashion-mnist-service: {error}", file=sys.stderr)
        return STARTUP_FAILURE
    return serve(settings)


def predict(options: argparse.Namespace, settings: Settings, parser: argparse.ArgumentParser) -> int:
    """Classify the pictures that are named, and return 0 if every one was answered, otherwise 1.

    Raises:
        StartError: The model cannot be loaded.
    """
    from app import local  # noqa: PLC0415  what starts workers needs no OpenCV

    names = find_pictures(options.pictures, parser)
    with Listing(options.format, names, sys.stdout, sys.stderr) as listing:
        local.predict(names, options.conversion, settings, listing)
    return 1 if listing.refused else 0


def serve(settings: Settings) -> int:
    """Start the workers, and return once they have stopped."""
    configure_logging(settings)
    workers = worker_count(settings)
    # uvicorn raises the signal that stopped it once more, when all is done: a clean stop is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = uvicorn.Config(
        partial(build, Tally.shared(workers) if workers > 1 else Tally()),
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=workers,
        log_config=None,
        access_log=False,  # app.tracing writes a line with the request's id
        server_header=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        timeout_worker_healthcheck=30,  # loading TensorFlow can hold the interpreter for so long
    )
    if workers == 1:
        uvicorn.Server(config).run()
        return 0
    supervisor = Multiprocess(config, sockets=[shared(config.bind_socket())])
    supervisor.run()
    # `uvicorn.run` would end with 0 even so.
    return STARTUP_FAILURE if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes) else 0


if __name__ == "__main__":
    run(main)
