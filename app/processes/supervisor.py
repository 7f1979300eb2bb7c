"""Replaces workers that end or hang, without letting a replacement that cannot start stop the others."""

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

from app.processes.drain import Config, DrainingServer
from app.processes.watchdog import Watchdog

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    import uvicorn

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0

RETIRE = getattr(signal, "SIGUSR1", signal.SIGTERM)
"""The signal to a worker that has been replaced while the service goes on."""

LOAD_SECONDS = 120.0
"""How long a new worker may take to become ready in a reload. Meanwhile no other worker that ends is replaced."""

PING_SECONDS = 0.1
"""How long the supervisor waits for one worker's answer at a time, before it checks the others."""

logger = logging.getLogger(__name__)


class Worker(multiprocess.Process):
    """A worker process that stops in steps, or at once if its event loop hangs or the steps do not end."""

    config: Config

    def __init__(self, config: Config, sockets: list[socket.socket]) -> None:
        """Take the config to run, and the sockets to listen on."""
        super().__init__(config, sockets)
        self._ends_by: float | None = None
        self._told: set[int] = set()
        self._asked: float | None = None

    @property
    def server(self) -> DrainingServer:
        """The server, created on first access, in the worker process."""
        if self._server is None:
            self._server = DrainingServer(self.config)
        return cast("DrainingServer", self._server)

    def start(self) -> None:
        """Start the process, and close the supervisor's copy of its end of the pipe.

        With a copy here, the pipe would outlive the process, and the supervisor would wait all of
        `timeout_worker_healthcheck` for a worker that died between a ping and its answer.
        """
        super().start()
        self.child_conn.close()

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, in the worker process; its copy of the supervisor's end is closed, to notice when that is gone."""
        self.parent_conn.close()
        # A closing terminal signals all processes, and the supervisor then replaces this one when its turn comes.
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if RETIRE != signal.SIGTERM:
            signal.signal(RETIRE, lambda *_: self.server.retire())
        # The server is created here, before the thread that answers pings, which could create another.
        Watchdog(self.server, self.config).start()
        super().target(sockets)

    def _healthcheck(self, timeout: float) -> bool | None:
        """Return whether the worker is ready; None if it is dead or has not answered for `timeout` seconds.

        uvicorn waits for the answer, and checks no other worker meanwhile: here a late answer is read next time.
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
        """Wait longer in a reload than uvicorn, whose timeout is meant for a ping and not for loading a model."""
        is_ready = super().wait_until_ready(max(timeout, LOAD_SECONDS), should_exit)
        is_told = should_exit is not None and should_exit.is_set()
        if self.exitcode is not None and not is_told:  # uvicorn goes on to say that it was not ready in time
            logger.error("new worker %s ended with %s before it was ready", self.pid, self.exitcode)
        return is_ready

    def tell_to_stop(self, number: int = signal.SIGTERM) -> None:
        """Signal the worker to stop and limit its time; each signal goes out once, as a second would end its drain."""
        if number in self._told or self.pid is None or self.exitcode is not None:
            return
        self._told.add(number)
        if self._ends_by is None:
            self._ends_by = time.monotonic() + self.config.stop_seconds
        os.kill(self.pid, number)

    def terminate(self) -> None:
        """Retire the worker, but leave the pipe open: closed, it would mean that the supervisor is gone."""
        self.tell_to_stop(RETIRE)

    def join(self) -> None:
        """Wait for the worker to end, and kill it when its time is up: if it is suspended, its watchdog is too."""
        if self._ends_by is not None:
            self.process.join(max(0, self._ends_by - time.monotonic()))
            if self.exitcode is None:
                logger.error("worker %s did not stop within %g s and is killed", self.pid, self.config.stop_seconds)
                self.process.kill()
        super().join()

    def pong(self) -> None:
        """Answer the supervisor, in a thread; if the supervisor is gone, stop."""
        try:
            super().pong()
        except (EOFError, OSError):
            if not self.server.stops:  # an orphan would block the port for the next service
                os.kill(os.getpid(), signal.SIGTERM)
            sys.exit()  # ends only this thread


class ToldToStop(threading.Event):
    """uvicorn's exit event, which is set as soon as the signal arrives, and not only once it is handled.

    Otherwise a service that is told to stop while it replaces its workers would first replace all of them.
    """

    def __init__(self, signals: list[int]) -> None:
        """Take the queue of signals that have arrived and are not handled yet."""
        super().__init__()
        self._signals = signals

    def is_set(self) -> bool:
        """Tell whether the supervisor should exit."""
        return super().is_set() or not {signal.SIGINT, signal.SIGTERM}.isdisjoint(self._signals)


class Supervisor(multiprocess.Multiprocess):
    """uvicorn's supervisor, but patient with workers that fail once the service has started.

    uvicorn stops all workers when one cannot start. That is right at first, since the next would fail the same
    way. Later, a crash after the artifact was swapped would end a service that still answers. Nor does uvicorn wait
    between attempts: if no worker becomes ready, it keeps a core busy with loading.

    Attributes:
        failed: Whether the service stopped because a worker could not start.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the config and the sockets of the workers, and a clock in seconds."""
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
        # In a reload it holds more than `processes`: a worker about to take a place, or one that has lost its place.
        self._hired: WeakSet[Worker] = WeakSet()

    def terminate_all(self) -> None:
        """Tell all workers to stop with the service, unless a signal has already done so."""
        for worker in self.processes:
            cast("Worker", worker).tell_to_stop()

    def keep_subprocess_alive(self) -> None:
        """Replace workers that end or hang: the first at once, others after pauses that double until all are ready."""
        if self.should_exit.is_set():
            return
        for place, worker in enumerate(self.processes):
            if worker not in self._due:
                if worker.is_alive(self.config.timeout_worker_healthcheck):
                    continue
                if self.should_exit.is_set():  # set meanwhile
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
        """Tell the workers to stop, even while the supervisor waits for one that hangs."""
        for worker in tuple(self._hired):
            worker.tell_to_stop()
        self.signal_queue.append(sig)

    def _hang_up(self, sig: int, _: FrameType | None) -> None:
        """Queue one reload of the workers; further signals before it begins ask for the same one."""
        if sig not in self.signal_queue:
            self.signal_queue.append(sig)

    def _interrupt(self, sig: int, _: FrameType | None) -> None:
        """Tell the workers to stop without a drain, even while the supervisor waits for one to end."""
        for worker in tuple(self._hired):
            if worker.pid is not None and worker.exitcode is None:
                os.kill(worker.pid, sig)
        self.signal_queue.append(sig)
