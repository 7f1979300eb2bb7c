"""Sets up logging: one line an event, for people or for machines, uvicorn's own lines included."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor

    from app.settings import Settings


class NamedLogger(structlog.WriteLogger):
    """Writes lines to standard error; the name says whose they are."""

    def __init__(self, name: str) -> None:
        """Take the name."""
        super().__init__(sys.stderr)
        self.name = name


def configure_logging(settings: Settings) -> None:
    """Send every logger of the process to standard error in the format that the settings ask for."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    as_json = settings.log_format == "json"
    renderer: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The default prints every local variable, pictures among them, and takes seconds.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    level = settings.log_level.upper()
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # It would repeat what a refusal says of a malformed form, with bytes of what was sent.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    # Our own lines, one a request, do not go through `logging`, which would more than double what they cost.
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=NamedLogger,
        cache_logger_on_first_use=False,
    )
