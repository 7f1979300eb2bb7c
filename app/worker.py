"""What a worker process runs; a spawned one knows nothing of `app.__main__`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.telemetry.tally import Tally


def build(tally: Tally) -> FastAPI:
    """Build the service in this process, with the tally that it shares with the others."""
    from app.main import app_from_environment  # noqa: PLC0415  what starts workers needs no OpenCV

    return app_from_environment(tally)
