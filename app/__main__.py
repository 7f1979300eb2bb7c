"""The command line: `python -m app` serves until told to stop; `predict` classifies pictures, `key` makes a key."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

from uvicorn.config import STARTUP_FAILURE

from app.commands.arguments import add_arguments, find_pictures
from app.commands.running import run
from app.commands.tabulate import Listing
from app.cores import worker_count
from app.errors import StartError
from app.http.keys import digest, new_key, read_keys
from app.model_card import read_verified
from app.processes.drain import Config, DrainingServer
from app.processes.ports import allow_open_files, shared
from app.processes.supervisor import Supervisor
from app.processes.watchdog import Watchdog
from app.settings import PREFIX, read_settings
from app.telemetry.logs import configure_logging
from app.telemetry.tally import Tally
from app.worker import build

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from app.settings import Settings

HANG_SECONDS = 30
"""A process that makes no progress for longer counts as hung; loading TensorFlow can hold the interpreter that long."""

logger = logging.getLogger(__name__)

OWN_FILES = 64
"""Files that a worker may have open besides its connections; it begins with about 24."""

SECURITY_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),  # origins in `FASHION_CORS_ORIGINS` are let in all the same
]
"""Added to every response by uvicorn, its own error responses included; pages also have policies of their own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve, or run the command that the arguments name; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m app",
        usage="%(prog)s [-h] [predict | key] ...  (to serve, none of these: FASHION_PORT and other variables say how)",
        description="Serve until told to stop, as the environment says (FASHION_PORT and others).",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", prog="python -m app")
    predict_parser = commands.add_parser("predict", help="classify pictures without a server")
    add_arguments(predict_parser)
    key_parser = commands.add_parser("key", help="make a key for FASHION_API_KEYS_FILE")
    key_parser.add_argument("name", nargs="?", default="", help="whose it is, for the log")
    options = parser.parse_args(arguments)
    if options.command == "key":
        return make_key(options.name)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read by TensorFlow when it is first imported
    try:
        settings = read_settings()
        if options.command == "predict":
            return predict(options, settings, predict_parser)
        if settings.api_keys_file:
            read_keys(settings.api_keys_file)
        # Each worker verifies again; this fails before any is started.
        read_verified(settings.model_dir).sets_for(settings.coverage)
    except StartError as error:
        print(f"fashion-mnist-service: {error}", file=sys.stderr)
        return STARTUP_FAILURE
    return serve(settings)


def make_key(name: str) -> int:
    """Make a key: print its line for the keys file to standard output, and the key itself to standard error."""
    key = new_key()
    print(digest(key), *name.split())
    print(f"Send it as `Authorization: Bearer {key}`; it is not shown again.", file=sys.stderr)
    return 0


def predict(options: argparse.Namespace, settings: Settings, parser: argparse.ArgumentParser) -> int:
    """Classify the named pictures, and return 0 if every one got a prediction, otherwise 1.

    Raises:
        StartError: The model cannot be loaded.
    """
    from app.commands import local  # noqa: PLC0415  what starts workers needs no OpenCV

    names = find_pictures(options.pictures, parser)
    with Listing(options.format, names, sys.stdout, sys.stderr) as listing:
        local.predict(names, options.conversion, settings, listing)
    return 1 if listing.refused else 0


def serve(settings: Settings) -> int:
    """Start the workers, and return once they have stopped."""
    configure_logging(settings)
    if (open_files := allow_open_files(settings.max_connections + OWN_FILES)) < settings.max_connections + OWN_FILES:
        logger.warning(
            "FASHION_MAX_CONNECTIONS is %d, but a process may have %d files open, %d of which it needs itself: raise "
            "`ulimit -n`, or connections are closed without an answer",
            *(settings.max_connections, open_files, OWN_FILES),
        )
    workers = worker_count(settings)
    if os.environ.get(PREFIX + "API_KEY") and not settings.api_keys_file:
        logger.warning(
            "FASHION_API_KEY is the client's: this service asks for no key; FASHION_API_KEYS_FILE names keys"
        )
    os.environ[PREFIX + "WORKERS"] = str(workers)  # read by each worker: `auto` may yield another number later
    # uvicorn re-raises the signal that stopped it once it is done; a clean stop must not look like a failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = Config(
        partial(build, Tally.shared(workers) if workers > 1 else Tally()),
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=workers,
        log_config=None,
        access_log=False,  # app.http.tracing writes a line with the request's id
        proxy_headers=False,  # nothing needs the original client's address, and anybody can forge these headers
        http="app.http.protocol:Protocol",
        ws="none",
        headers=SECURITY_HEADERS,
        server_header=False,
        reset_contextvars=True,  # else a request logs the name of the key of the one before it on its connection
        timeout_keep_alive=settings.keep_alive_seconds,
        drain_seconds=settings.drain_seconds,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        timeout_worker_healthcheck=HANG_SECONDS,
    )
    bound = shared(listening(config))
    os.environ[PREFIX + "PORT"] = str(bound.getsockname()[1])  # read by each worker: for 0 the system has chosen a port
    if workers == 1:
        # SIGHUP makes a supervisor replace its workers; here its default would end the process with requests in flight.
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
        server = DrainingServer(config)
        Watchdog(server, config).start()
        server.run(sockets=[bound])
        return 0
    supervisor = Supervisor(config, sockets=[bound])
    supervisor.run()
    return STARTUP_FAILURE if supervisor.failed else 0


def listening(config: Config) -> socket.socket:
    """Return a socket bound to the configured address.

    Raises:
        SystemExit: The address is not available; uvicorn logs why, and a line printed here says what to do.
    """
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.addFilter(_only_warnings)
    try:
        bound = config.bind_socket()
    except SystemExit:
        choose = "FASHION_HOST and FASHION_PORT choose another address"
        print(f"fashion-mnist-service: cannot listen on {config.host}:{config.port}; {choose}", file=sys.stderr)
        raise
    finally:
        uvicorn.removeFilter(_only_warnings)
    logger.info("loading the model, to listen on %s:%d", config.host, bound.getsockname()[1])
    return bound


def _only_warnings(record: logging.LogRecord) -> bool:
    """Drop uvicorn's message that it is running, which comes seconds before any request is answered."""
    return record.levelno >= logging.WARNING


if __name__ == "__main__":
    run(main)
