"""Starts a server, waits for it, measures its memory, and stops all its processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

START_SECONDS = 120
REST_SECONDS = 15
STOP_SECONDS = 15

AT_REST = 0.3
"""Share of one core that a server may use and still count as idle: some poll their queues."""


class ServerError(Exception):
    """A server did not start, or does not answer as expected; the message says which and why."""


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, port: int, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server; when the block ends, none of its processes is left.

    Args:
        command: The program with its arguments.
        environment: Variables in addition to our own.
        folder: Its working directory.
        port: The port it listens on; must be free, or another server would be measured in its place.
        log: File for its output.

    Raises:
        ServerError: Something already listens on the port.
    """
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            msg = f"expected port {port} to be free, found a server on it; stop it or choose another --port"
            raise ServerError(msg)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  the commands are those of systems.py
            command,
            env={**os.environ, **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


def wait_until_ready(process: subprocess.Popen[bytes], ask: Callable[[], object], log: Path) -> None:
    """Return once a server answers and is then idle, as it is when its last worker has loaded.

    Args:
        process: The process that `running` yielded.
        ask: Sends it a request; raises `ServerError` or `OSError` if the answer is not right.
        log: The file with its output, whose last line is quoted when it fails.

    Raises:
        ServerError: It ended, or gave no right answer within `START_SECONDS`.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            ask()
            break
        except (ServerError, OSError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                last = log.read_text(errors="replace").strip().splitlines()[-1:]
                msg = f"expected a right answer in {START_SECONDS} s, found {error}; its last line: {''.join(last)}"
                raise ServerError(msg) from error
        time.sleep(0.2)
    deadline = time.monotonic() + REST_SECONDS
    while time.monotonic() < deadline:
        before = processor_seconds(process.pid)
        time.sleep(1)
        if processor_seconds(process.pid) - before < AT_REST:
            return


def memory_bytes(leader: int, count: str = "Pss") -> int:
    """Return the memory of a server's processes in bytes: `Pss` counts a shared page once, `Rss` once a process."""
    texts = (_read(f"/proc/{process}/smaps_rollup") for process in family(leader))
    return 1024 * sum(
        int(text.partition(f"\n{count}:")[2].split(maxsplit=1)[0]) for text in texts if f"\n{count}:" in text
    )


def processor_seconds(leader: int) -> float:
    """Return the processor time in seconds that a server's living processes have used."""
    fields = filter(None, map(_stat, family(leader)))
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")


def family(leader: int) -> set[int]:
    """Return the IDs of a server's living processes: those of its session, and their descendants.

    Neither alone is enough: orphans have lost their parents, and BentoML's workers open sessions of their own.
    """
    processes = {int(path.name): _stat(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit()}
    living = {process: fields for process, fields in processes.items() if fields and fields[0] != "Z"}
    members = {process for process, fields in living.items() if int(fields[3]) == leader}
    while more := {process for process, fields in living.items() if int(fields[1]) in members} - members:
        members |= more
    return members


def _stat(process: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name, or none when the process is gone.

    Source:
        proc(5): of the file, field 3 is the state, 4 the parent, 6 the session, 14 and 15 the ticks as user and system.
    """
    return _read(f"/proc/{process}/stat").rpartition(")")[2].split()


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to stop, then kill those of its processes that are left."""
    members = family(process.pid)
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    while left := [one for one in members | family(process.pid) if _stat(one)[:1] not in ([], ["Z"])]:
        for one in left:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        time.sleep(0.1)
