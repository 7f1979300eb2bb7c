"""Ends a process whose event loop or a thread hangs, so that whatever started it starts another, or cannot stop."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.drain import Config, DrainingServer

HANGS = 70
"""The exit code. Source: `EX_SOFTWARE` of sysexits.h."""

LOOKS_A_SECOND = 2


class Watchdog:
    """Ends the process at once where its event loop has not turned for long while it serves, or its stop has no end.

    Where a thread is stuck no turn counts: who needs that thread waits in vain, and readiness would not tell.

    Whoever looks is another thread, which lives on when the loop hangs. It counts looks, not seconds, since a machine
    or a container may be paused, and it writes no log, since that may be what the loop hangs at.
    """

    def __init__(self, server: DrainingServer, config: Config) -> None:
        """Take the server to watch, and what it was told: for how long its loop may stand still, or it stop."""
        self._server = server
        self._config = config
        self._idle_looks = 0

    def look(self) -> None:
        """Look once; starting may take as long as it does, unless it is told to stop."""
        stops = self._server.should_exit
        # From the end of serving on, which a drain comes before, it turns without leaving a mark.
        stands_still = (self._server.started or stops) and not self._server.has_turned
        self._idle_looks = self._idle_looks + 1 if stands_still else 0
        self._server.has_turned = False
        config = self._config
        patience_seconds = config.stop_seconds - config.drain_seconds if stops else config.timeout_worker_healthcheck
        if self._idle_looks > patience_seconds * LOOKS_A_SECOND:
            # An abort would leave pictures and keys in a core dump, and a container's first process takes no SIGKILL.
            os._exit(HANGS)

    def start(self) -> None:
        """Look again and again, in a thread that ends with the process."""
        threading.Thread(target=self._look_on, name="watchdog", daemon=True).start()

    def _look_on(self) -> None:
        while True:
            time.sleep(1 / LOOKS_A_SECOND)
            self.look()
