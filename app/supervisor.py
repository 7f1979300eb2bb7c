"""Replaces workers that end or hang, and never lets one that cannot start take the others along."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, cast
from weakref import WeakSet

from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess

from app.drain import Config, DrainingServer
from app.watchdog import Watchdog

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    import uvicorn

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0

RETIRE = getattr(signal, "SIGUSR1", signal.SIGTERM)
"""The signal to a worker that another has taken the place of, while the service goes on."""

LOAD_SECONDS = 120.0
"""How long, in a reload, a new worker may take until it is ready. Until then no other that ends is replaced."""

PING_SECONDS = 0.1
"""How long the supervisor waits for an answer at a time, before it looks after the others."""

logger = logging.getLogger(__name__)


class Worker(multiprocess.Process):
    """A process of the supervisor that stops in steps, and at once when its event loop hangs or they have no end."""

    config: Config

    def __init__(self, config: Config, sockets: list[socket.socket]) -> None:
        """Take what it runs and listens on."""
        super().__init__(config, sockets)
        self._ends_by: float | None = None
        self._told: set[int] = set()
        self._asked: float | None = None

    @property
    def server(self) -> DrainingServer:
        """The server, made where it is first asked for: in the process."""
        if self._server is None:
            self._server = DrainingServer(self.config)
        return cast("DrainingServer", self._server)

    def start(self) -> None:
        """Start the process, and leave its end of the pipe to it alone.

        With a copy here the pipe would outlive it, and the supervisor wait all of `timeout_worker_healthcheck` for a
        worker that died between a ping and its answer.
        """
        super().start()
        self.child_conn.close()

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, in the process, with the supervisor's end of the pipe left to it alone, so that its end shows."""
        self.parent_conn.close()
        # A terminal that is closed tells all processes, and the supervisor then replaces this one when its turn comes.
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if RETIRE != signal.SIGTERM:
            signal.signal(RETIRE, lambda *_: self.server.retire())
        # The server is made here, before the thread that answers pings, which could make another.
        Watchdog(self.server, self.config).start()
        super().target(sockets)

    def _healthcheck(self, timeout: float) -> bool | None:
        """Say whether it is ready; None where it is dead, or has not answered for so many seconds.

        uvicorn waits for the answer, and meanwhile looks after no other worker: here a late one is heard next time.
        """
        try:
            if self._asked is None:
                self.parent_conn.send(b"ping")
                self._asked = time.monotonic()
            if self.parent_conn.poll(min(timeout, PING_SECONDS)):
                is_ready: bool = self.parent_conn.recv()
                self._asked = None
                return is_ready
        except (OSError, EOFError, pickle.UnpicklingError):
            return None
        return False if time.monotonic() < self._asked + timeout else None

    def wait_until_ready(self, timeout: float, should_exit: threading.Event | None = None) -> bool:
        """Wait longer than uvicorn does in a reload, which is for the answer to a ping and not for loading."""
        return super().wait_until_ready(max(timeout, LOAD_SECONDS), should_exit)

    def tell_to_stop(self, number: int = signal.SIGTERM) -> None:
        """Tell it from when on it may take only so long; each way once, since a second time would end its drain."""
        if number in self._told or self.pid is None or self.exitcode is not None:
            return
        self._told.add(number)
        if self._ends_by is None:
            self._ends_by = time.monotonic() + self.config.stop_seconds
        os.kill(self.pid, number)

    def terminate(self) -> None:
        """Retire it. The pipe stays open: its end would tell of a supervisor that is gone."""
        self.tell_to_stop(RETIRE)

    def join(self) -> None:
        """Wait until it has ended, and end it where it does not stop: it may be stopped, and then watches nothing."""
        if self._ends_by is not None:
            self.process.join(max(0, self._ends_by - time.monotonic()))
            if self.exitcode is None:
                logger.error("worker %s did not stop within %g s and is killed", self.pid, self.config.stop_seconds)
                self.process.kill()
        super().join()

    def pong(self) -> None:
        """Answer the supervisor, in a thread; without one, stop."""
        try:
            super().pong()
        except (EOFError, OSError):
            if not self.server.stops:  # an orphan would keep the port from whoever is started next
                os.kill(os.getpid(), signal.SIGTERM)
            sys.exit()  # this thread


class ToldToStop(threading.Event):
    """uvicorn's wish to exit, which is one from the signal on, and not only once it is handled.

    Else a service that is told to stop while it replaces its workers would first replace all of them.
    """

    def __init__(self, signals: list[int]) -> None:
        """Take those that have come and are not handled yet."""
        super().__init__()
        self._signals = signals

    def is_set(self) -> bool:
        """Tell whether it is to exit."""
        return super().is_set() or not {signal.SIGINT, signal.SIGTERM}.isdisjoint(self._signals)


class Supervisor(multiprocess.Multiprocess):
    """uvicorn's own, patient with workers that fail once the service has started.

    uvicorn stops all workers when one cannot start. That is right for the first, since the next would fail the same
    way. Later, a crash after the artifact was swapped would end a service that still answers. Nor does uvicorn wait
    between attempts: where none gets ready, it keeps a core busy with loading.

    Attributes:
        failed: Whether it stopped because a worker could not start.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what the workers run and listen on, and a clock in seconds."""
        super().__init__(config, sockets)
        multiprocess.Process = self._hire  # type: ignore[assignment,misc]  # uvicorn names the class to start a worker
        self.should_exit = ToldToStop(self.signal_queue)
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(signal.SIGTERM, self._stop)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._hang_up)
        self.failed = False
        self._clock = clock
        self._started = False
        self._pause_seconds = 0.0
        self._due: dict[multiprocess.Process, float] = {}
        # In a reload these are more than `processes`: one that takes a place, or one that has lost it.
        self._hired: WeakSet[Worker] = WeakSet()

    def terminate_all(self) -> None:
        """Tell all to stop with the service, where none has been told by a signal."""
        for worker in self.processes:
            cast("Worker", worker).tell_to_stop()

    def keep_subprocess_alive(self) -> None:
        """Replace who ended or hangs: the first at once, others after pauses that double until all are ready again."""
        if self.should_exit.is_set():
            return
        for place, worker in enumerate(self.processes):
            if worker not in self._due:
                if worker.is_alive(self.config.timeout_worker_healthcheck):
                    continue
                if self.should_exit.is_set():  # came meanwhile
                    return
                worker.kill()
                worker.join()
                if worker.exitcode == STARTUP_FAILURE and not self._started:
                    self.failed = True
                    self.should_exit.set()
                    return
                logger.error(
                    "worker %s ended with %s: another starts in %g s", worker.pid, worker.exitcode, self._pause_seconds
                )
                self._due[worker] = self._clock() + self._pause_seconds
                self._pause_seconds = min(max(FIRST_PAUSE_SECONDS, 2 * self._pause_seconds), LONGEST_PAUSE_SECONDS)
            if self._clock() >= self._due[worker]:
                del self._due[worker]
                self.processes[place] = multiprocess.Process(self.config, self.sockets)
                self.processes[place].start()
        if (self._pause_seconds or not self._started) and self._all_are_ready():
            self._started, self._pause_seconds = True, 0.0

    def _hire(self, config: Config, sockets: list[socket.socket]) -> Worker:
        worker = Worker(config, sockets)
        self._hired.add(worker)
        return worker

    def _all_are_ready(self) -> bool:
        patience = self.config.timeout_worker_healthcheck
        return all(worker not in self._due and worker.is_ready(patience) for worker in self.processes)

    def _stop(self, sig: int, _: FrameType | None) -> None:
        """Let the workers begin to stop, even while the supervisor waits for one that hangs."""
        for worker in tuple(self._hired):
            worker.tell_to_stop()
        self.signal_queue.append(sig)

    def _hang_up(self, sig: int, _: FrameType | None) -> None:
        """Note one wish to replace the workers; more that come before it is heeded are the same."""
        if sig not in self.signal_queue:
            self.signal_queue.append(sig)

    def _interrupt(self, sig: int, _: FrameType | None) -> None:
        """Let the workers stop without a drain, even while the supervisor waits for the end of one."""
        for worker in tuple(self._hired):
            if worker.pid is not None and worker.exitcode is None:
                os.kill(worker.pid, sig)
        self.signal_queue.append(sig)
