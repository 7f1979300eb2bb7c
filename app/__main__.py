"""`python -m app`: serves until it is told to stop."""

from __future__ import annotations

import os
import signal
import sys

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from app.cores import worker_count
from app.errors import StartError
from app.logs import configure_logging
from app.model_card import read_verified
from app.ports import shared
from app.settings import read_settings


def main() -> None:
    """Read the settings, look at the artifact, start the workers."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read by TensorFlow when it is first imported
    try:
        settings = read_settings()
        read_verified(settings.model_dir)  # each worker looks again; here it stops the start before there are any
    except StartError as error:
        print(f"fashion-mnist-service: {error}", file=sys.stderr)
        sys.exit(STARTUP_FAILURE)
    configure_logging(settings)
    # uvicorn raises the signal that stopped it once more, when all is done: a clean stop is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = uvicorn.Config(
        "app.main:app_from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=worker_count(settings),
        log_config=None,
        access_log=False,  # app.tracing writes a line with the request's id
        server_header=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        timeout_worker_healthcheck=10,  # loading TensorFlow holds the interpreter for seconds
    )
    if config.workers == 1:
        uvicorn.Server(config).run()
        return
    supervisor = Multiprocess(config, sockets=[shared(config.bind_socket())])
    supervisor.run()
    if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        sys.exit(STARTUP_FAILURE)  # `uvicorn.run` would end with 0


if __name__ == "__main__":
    main()
