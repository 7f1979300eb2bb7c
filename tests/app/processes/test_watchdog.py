from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from app.processes.drain import Config, DrainingServer
from app.processes.watchdog import HANGS, LOOKS_A_SECOND, Watchdog

if TYPE_CHECKING:
    import pytest


def test_a_process_ends_itself_once_its_event_loop_has_not_turned_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    server = DrainingServer(
        Config("no:app", drain_seconds=1, timeout_graceful_shutdown=2, timeout_worker_healthcheck=3, log_config=None)
    )
    watchdog = Watchdog(server, cast("Config", server.config))

    def look(times: int, *, turns: bool = False) -> list[int]:
        for _ in range(times):
            server.has_turned |= turns
            watchdog.look()
        return ended

    patience, patience_with_a_stop = 3 * LOOKS_A_SECOND, (2 + 3) * LOOKS_A_SECOND
    assert not look(2 * patience)  # it is still loading
    server.should_exit = True
    assert not look(patience_with_a_stop)
    assert look(1) == [HANGS]
    ended.clear()
    server.started, server.should_exit = True, False
    assert not look(1, turns=True)
    assert not look(patience)
    server.should_exit = True
    assert not look(patience_with_a_stop - patience)
    assert look(1) == [HANGS]
    ended.clear()
    server.should_exit = False
    assert not look(1, turns=True)
    assert not look(patience)
    assert look(1) == [HANGS]
