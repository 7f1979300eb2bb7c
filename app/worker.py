"""What a worker process runs."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.tally import Tally


def _rather_finish_than_be_prompt() -> None:
    """Let no thread of this process interrupt what runs on its core just because a request has arrived.

    At full load there is always one, and each change of threads costs the caches. On idle cores nothing changes.

    Source:
        sched(7), SCHED_BATCH.
    """
    with suppress(AttributeError, OSError):  # Linux alone has it, and a sandbox may forbid it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def build(tally: Tally) -> FastAPI:
    """Build the service in this process, which counts together with the others."""
    _rather_finish_than_be_prompt()
    from app.main import app_from_environment  # noqa: PLC0415  what starts workers loads no TensorFlow

    return app_from_environment(tally)
