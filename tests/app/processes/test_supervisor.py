"""Which workers are replaced and when, and what a worker that cannot start means for the others."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import pytest
import uvicorn
from uvicorn.supervisors import multiprocess
from uvicorn.supervisors.multiprocess import SIGNALS

from app.processes import supervisor
from app.processes.drain import Config, DrainingServer
from app.processes.supervisor import LONGEST_PAUSE_SECONDS, Supervisor
from app.processes.watchdog import Watchdog
from tests.app.http.test_protocol import eventually

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from multiprocessing.context import SpawnProcess


class Worker:
    """A worker that is ready until a test sets its exit code."""

    def __init__(self, pid: int, exitcode: int | None = None, *, ready: bool = True) -> None:
        self.pid = pid
        self.exitcode = exitcode
        self.ready = ready
        self.started = self.killed = False

    def start(self) -> None:
        self.started = True

    def kill(self) -> None:
        self.killed = True

    def join(self) -> None:
        assert self.killed

    def is_alive(self, _timeout: float) -> bool:
        return self.exitcode is None

    def is_ready(self, _timeout: float) -> bool:
        return self.ready and self.exitcode is None


class Company:
    """Two workers under a supervisor, whose clock stands still until a test advances it.

    Attributes:
        next_exitcode: Exit code of the workers that are started from now on; None lets them live.
        workers: All workers that were ever started.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.next_exitcode: int | None = None
        self.workers: list[Worker] = []
        config = uvicorn.Config("no:app", workers=2, log_config=None)
        monkeypatch.setattr(multiprocess, "Process", multiprocess.Process)  # undone after the test
        monkeypatch.setattr(supervisor, "Worker", lambda *_: self.hire())
        self.supervisor = Supervisor(config, [], lambda: self.now)
        self.supervisor.processes = [multiprocess.Process(config, []) for _ in range(2)]

    def hire(self) -> Worker:
        worker = Worker(len(self.workers), self.next_exitcode)
        self.workers.append(worker)
        return worker

    def look_after(self, seconds: float = 0) -> int:
        """Let time pass, let the supervisor check its workers, and return how many it started."""
        before = len(self.workers)
        self.now += seconds
        self.supervisor.keep_subprocess_alive()
        return len(self.workers) - before


@pytest.fixture
def company(monkeypatch: pytest.MonkeyPatch) -> Iterator[Company]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield Company(monkeypatch)
    finally:
        for number, handler in before.items():
            with suppress(TypeError):  # it was not set from Python
                signal.signal(number, handler)


def test_no_worker_is_replaced_while_all_are_alive(company: Company) -> None:
    assert company.look_after() == 0
    assert not any(worker.killed for worker in company.workers)


def test_a_worker_that_dies_is_replaced_at_once_and_the_other_is_left_alone(company: Company) -> None:
    company.look_after()
    company.workers[0].exitcode = -signal.SIGKILL
    assert company.look_after() == 1
    assert [worker.pid for worker in company.supervisor.processes] == [2, 1]
    assert company.workers[2].started
    assert not company.workers[1].killed


def test_a_worker_that_cannot_start_before_all_have_started_stops_the_service(company: Company) -> None:
    company.workers[1].ready = False
    company.look_after()
    company.workers[1].exitcode = 3
    assert company.look_after() == 0
    assert company.supervisor.should_exit.is_set()
    assert company.supervisor.failed


def test_a_worker_that_cannot_start_later_is_retried_ever_more_slowly_and_stops_no_other(company: Company) -> None:
    company.look_after()
    company.next_exitcode = 3
    company.workers[0].exitcode = -signal.SIGKILL
    tries = [second for second in range(400) if company.look_after(1)]
    assert tries == [0, 2, 5, 10, 19, 36, 69, 130, 191, 252, 313, 374]
    assert tries[-1] - tries[-2] == LONGEST_PAUSE_SECONDS + 1
    assert not company.supervisor.should_exit.is_set()
    assert not company.workers[1].killed


def test_a_worker_that_crashes_while_it_starts_is_not_retried_at_full_speed_either(company: Company) -> None:
    company.next_exitcode = -signal.SIGILL
    company.workers[0].exitcode = -signal.SIGILL
    assert sum(company.look_after(0.5) for _ in range(60)) == 5
    assert not company.supervisor.should_exit.is_set()


def test_once_all_are_ready_again_the_next_that_dies_is_replaced_at_once(company: Company) -> None:
    company.look_after()
    company.next_exitcode = 3
    company.workers[0].exitcode = -signal.SIGKILL
    for _ in range(100):
        company.look_after(1)
    company.next_exitcode = None
    assert any(company.look_after(1) for _ in range(100))
    company.look_after()
    company.workers[-1].exitcode = -signal.SIGKILL
    assert company.look_after() == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_supervisor_told_to_stop_during_a_reload_replaces_no_more_workers(
    company: Company, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def signalled(*_: object) -> bool:
        company.supervisor.signal_queue.append(number)
        return True

    monkeypatch.setattr(Worker, "wait_until_ready", signalled, raising=False)
    monkeypatch.setattr(Worker, "terminate", Worker.kill, raising=False)
    company.supervisor.restart_all()
    assert [worker.killed for worker in company.workers] == [True, False, False]
    company.supervisor.handle_signals()
    assert company.supervisor.should_exit.wait(0)


def test_a_supervisor_told_to_stop_tells_its_workers_at_once_even_while_it_waits_for_one_that_hangs(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped_meanwhile(worker: Worker, _timeout: float) -> bool:
        signal.raise_signal(signal.SIGTERM)
        assert sorted(told) == [0, 1]
        return worker.pid != 0

    told: list[int] = []
    monkeypatch.setattr(Worker, "is_alive", stopped_meanwhile)
    monkeypatch.setattr(Worker, "tell_to_stop", lambda worker: told.append(worker.pid), raising=False)
    assert company.look_after() == 0
    assert not any(worker.killed for worker in company.workers)
    company.supervisor.handle_signals()
    assert company.supervisor.should_exit.wait(0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_supervisor_told_to_stop_while_an_old_worker_retires_tells_the_new_one_too(
    company: Company, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    told: list[int] = []
    monkeypatch.setattr(Worker, "wait_until_ready", lambda *_: True, raising=False)
    monkeypatch.setattr(Worker, "terminate", lambda _: None, raising=False)
    monkeypatch.setattr(Worker, "join", lambda _: signal.raise_signal(number))
    monkeypatch.setattr(Worker, "tell_to_stop", lambda worker: told.append(worker.pid), raising=False)
    monkeypatch.setattr(os, "kill", lambda pid, _: told.append(pid))
    company.supervisor.restart_all()
    assert sorted(told) == [0, 1, 2]


def test_hangups_during_a_reload_cause_one_more_reload(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    def hung_up_again(_: object) -> None:
        if not reloads:
            for _ in range(9):
                signal.raise_signal(signal.SIGHUP)
        reloads.append("reload")

    reloads: list[str] = []
    monkeypatch.setattr(Supervisor, "restart_all", hung_up_again)
    signal.raise_signal(signal.SIGHUP)
    for _ in range(3):
        company.supervisor.handle_signals()
    assert len(reloads) == 2


def test_a_worker_watches_its_event_loop_while_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[object] = []
    monkeypatch.setattr(Watchdog, "start", lambda self: happened.append(self))  # noqa: PLW0108  a list's binds no self
    monkeypatch.setattr(supervisor.Worker.__base__, "target", lambda *_: happened.append("serves"))
    worker = supervisor.Worker(Config("no:app", drain_seconds=0, log_config=None), [])
    worker.target([])
    watchdog, then = happened
    assert isinstance(watchdog, Watchdog)
    assert then == "serves"


class DiesOfAPing(supervisor.Worker):
    def target(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  uvicorn's
        self.child_conn.recv()
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_between_a_ping_and_its_answer_is_not_waited_for() -> None:
    worker = DiesOfAPing(Config("app", drain_seconds=0, log_config=None), [])
    worker.start()
    started = time.monotonic()
    while worker.is_alive(timeout=60):
        assert time.monotonic() - started < 50
    worker.kill()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL


def test_a_worker_that_has_ended_is_sent_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = DiesOfAPing(Config("app", drain_seconds=0, log_config=None), [])
    worker.start()
    worker.parent_conn.send(b"ping")
    worker.join()
    sent: list[object] = []
    monkeypatch.setattr(os, "kill", lambda *signalled: sent.append(signalled))  # its pid may be another's by now
    worker.tell_to_stop()
    assert sent == []


class AnswersWhenTold(supervisor.Worker):
    def __init__(self, config: Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.teller, self.told = multiprocessing.Pipe()

    def target(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  uvicorn's
        while True:
            self.child_conn.recv()
            self.child_conn.send(self.told.recv())


def test_a_worker_that_hangs_delays_nobody_and_counts_as_dead_once_it_has_been_silent_for_long() -> None:
    worker = AnswersWhenTold(Config("app", drain_seconds=0, log_config=None), [])
    worker.start()
    try:
        assert (worker.is_alive(60), worker.is_ready(60)) == (True, False)  # not after 60 s, which would be False twice
        worker.teller.send(obj=True)
        eventually(lambda: worker.is_ready(60))
        assert (worker.is_alive(60), worker.is_ready(60)) == (True, False)
        eventually(lambda: not worker.is_alive(0.5))
        assert worker.exitcode is None
    finally:  # otherwise any failure would wait for it forever
        worker.kill()
        worker.join()


class NeverStops(supervisor.Worker):
    def target(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  uvicorn's
        signal.signal(signal.SIGTERM, lambda *_: self.child_conn.send("told"))
        signal.signal(supervisor.RETIRE, lambda *_: self.child_conn.send("told"))
        self.child_conn.send("starts")
        while True:
            time.sleep(1)


def test_a_worker_that_does_not_stop_in_time_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    config = Config(
        "app", drain_seconds=0.5, timeout_graceful_shutdown=1, timeout_worker_healthcheck=1, log_config=None
    )
    worker = NeverStops(config, [])
    worker.start()
    assert worker.parent_conn.recv() == "starts"
    started = time.monotonic()
    worker.tell_to_stop()
    assert worker.parent_conn.recv() == "told"
    worker.join()
    assert time.monotonic() - started >= 2.5
    assert worker.exitcode == -signal.SIGKILL
    assert "did not stop within 2.5 s and is killed" in caplog.text


class Endless:
    """A process that never ends by itself, and records how long it was waited for."""

    pid, exitcode = 1, None

    def __init__(self) -> None:
        self.waits: list[float | None] = []

    def join(self, timeout: float | None = None) -> None:
        self.waits.append(timeout)

    def kill(self) -> None:
        pass


def test_each_signal_goes_out_once_and_the_first_begins_the_time_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """So all workers have it at once, and one that retires gains none when the service stops meanwhile."""
    told: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _, number: told.append(number))  # nobody has this pid
    worker = supervisor.Worker(Config("app", drain_seconds=60, log_config=None), [])
    worker.process = cast("SpawnProcess", process := Endless())
    worker.terminate()
    time.sleep(0.1)
    worker.tell_to_stop()
    worker.tell_to_stop()
    time.sleep(0.1)
    worker.join()
    assert told == [supervisor.RETIRE, signal.SIGTERM]
    assert process.waits[0] is not None
    assert process.waits[0] <= worker.config.stop_seconds - 0.2


def test_in_a_reload_a_new_worker_has_time_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(
        supervisor.Worker.__base__, "wait_until_ready", lambda _self, seconds, _exit: waited.append(seconds)
    )
    supervisor.Worker(Config("no:app", drain_seconds=0, log_config=None), []).wait_until_ready(30)
    assert waited == [supervisor.LOAD_SECONDS]


def test_in_a_reload_the_log_tells_a_new_worker_that_ended_from_one_that_was_slow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor.Worker.__base__, "wait_until_ready", lambda *_: False)
    for code in (None, 3):
        monkeypatch.setattr(supervisor.Worker, "exitcode", code)
        assert not supervisor.Worker(Config("no:app", drain_seconds=0, log_config=None), []).wait_until_ready(30)
    told = threading.Event()
    told.set()
    supervisor.Worker(Config("no:app", drain_seconds=0, log_config=None), []).wait_until_ready(30, told)
    assert caplog.messages == ["new worker None ended with 3 before it was ready"]


def test_each_turn_of_the_event_loop_leaves_its_mark() -> None:
    server = DrainingServer(Config("no:app", drain_seconds=0, log_config=None))
    assert not server.has_turned
    assert asyncio.run(server.on_tick(1)) is False
    assert server.has_turned
