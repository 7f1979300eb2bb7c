"""Ends a process whose event loop or thread hangs, or that cannot stop, so that its starter can replace it."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.processes.drain import Config, DrainingServer

HANGS = 70
"""The exit code of such a process. Source: `EX_SOFTWARE` of sysexits.h."""

LOOKS_A_SECOND = 2


class Watchdog:
    """Ends the process at once if its event loop stands still for too long while it serves, or if its stop has no end.

    While a thread is stuck, turns of the loop do not count: requests that need the thread wait in vain, and readiness
    would not show it.

    The watching thread is a separate one, which lives on when the loop hangs. It counts looks, not seconds, since a
    machine or a container may be paused. It writes no log, since that may be what the loop hangs on.
    """

    def __init__(self, server: DrainingServer, config: Config) -> None:
        """Take the server to watch, and the config, which limits a standstill of its loop and the time to stop."""
        self._server = server
        self._config = config
        self._idle_looks = 0

    def look(self) -> None:
        """Look once; startup may take any time, unless the server is told to stop."""
        stops = self._server.should_exit
        # Once serving has ended, after any drain, the loop turns without leaving a mark.
        stands_still = (self._server.started or stops) and not self._server.has_turned
        self._idle_looks = self._idle_looks + 1 if stands_still else 0
        self._server.has_turned = False
        config = self._config
        patience_seconds = config.stop_seconds - config.drain_seconds if stops else config.timeout_worker_healthcheck
        if self._idle_looks > patience_seconds * LOOKS_A_SECOND:
            # An abort would leave pictures and keys in a core dump; a container's first process cannot SIGKILL itself.
            os._exit(HANGS)

    def start(self) -> None:
        """Look repeatedly, in a thread that ends with the process."""
        threading.Thread(target=self._look_on, name="watchdog", daemon=True).start()

    def _look_on(self) -> None:
        while True:
            time.sleep(1 / LOOKS_A_SECOND)
            self.look()
