"""Ends a process whose event loop hangs, so that whatever started it starts another."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.drain import DrainingServer

HANGS = 70
"""The exit code. Source: `EX_SOFTWARE` of sysexits.h."""

LOOKS_A_SECOND = 2


class Watchdog:
    """Ends the process at once where its event loop has not turned for long while it serves.

    Whoever looks is another thread, which lives on when the loop hangs. It counts looks, not seconds, since a machine
    or a container may be paused, and it writes no log, since that may be what the loop hangs at.
    """

    def __init__(self, server: DrainingServer, patience_seconds: float) -> None:
        """Take the server to watch, and for how long its loop may stand still."""
        self._server = server
        self._patience = patience_seconds * LOOKS_A_SECOND
        self._idle_looks = 0

    def look(self) -> None:
        """Look once; starting and stopping may take as long as they do."""
        serves = self._server.started and not self._server.should_exit
        self._idle_looks = self._idle_looks + 1 if serves and not self._server.has_turned else 0
        self._server.has_turned = False
        if self._idle_looks > self._patience:
            # An abort would leave pictures and keys in a core dump, and a container's first process takes no SIGKILL.
            os._exit(HANGS)

    def start(self) -> None:
        """Look again and again, in a thread that ends with the process."""
        threading.Thread(target=self._look_on, name="watchdog", daemon=True).start()

    def _look_on(self) -> None:
        while True:
            time.sleep(1 / LOOKS_A_SECOND)
            self.look()
