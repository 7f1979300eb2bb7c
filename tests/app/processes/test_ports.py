from __future__ import annotations

import pickle
import socket
import sys

import pytest

from app.processes.ports import SharedPort, begin_no_more, leave_to_the_next, shared


def bound() -> socket.socket:
    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    return free


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the workers accept from one socket")
def test_a_shared_port_arrives_as_another_socket_that_gets_its_share_of_connections() -> None:
    address = (before := bound()).getsockname()
    with shared(before) as parent, pickle.loads(pickle.dumps(parent)) as one, pickle.loads(pickle.dumps(parent)) as two:  # noqa: S301  our own
        assert before.fileno() == -1
        assert {one.getsockname(), two.getsockname(), parent.getsockname()} == {address}
        one.listen()
        two.listen()
        callers = [socket.create_connection(address) for _ in range(64)]
        shares = []
        for listener in (one, two):
            listener.settimeout(0)
            shares.append(0)
            while True:
                try:
                    listener.accept()[0].close()
                except BlockingIOError:
                    break
                shares[-1] += 1
        for caller in callers:
            caller.close()
    assert sum(shares) == 64
    assert min(shares) > 10  # a fair coin would give fewer once in fifty million times


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the workers accept from one socket")
def test_nobody_else_gets_a_shared_port_whether_or_not_a_worker_has_joined() -> None:
    with shared(bound()) as parent:
        for is_joined in (False, True):
            worker = pickle.loads(pickle.dumps(parent)) if is_joined else parent  # noqa: S301  our own
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with pytest.raises(OSError, match="in use"):
                    other.bind(parent.getsockname())
            worker.close() if is_joined else None


def like_uvicorn(address: tuple[str, int]) -> socket.socket:
    again = socket.socket()
    again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        again.bind(address)
    except OSError:
        again.close()
        raise
    return again


def leave_a_connection_behind(listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname()):
        listener.accept()[0].close()  # the side that closes first keeps it in TIME_WAIT


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the workers accept from one socket")
def test_connections_left_behind_do_not_block_the_port_and_an_earlier_service_does() -> None:
    with bound() as free:
        address = free.getsockname()
    with like_uvicorn(address) as another_program:
        another_program.listen()
        leave_a_connection_behind(another_program)
    for _ in range(2):
        with shared(like_uvicorn(address)) as service:
            with pytest.raises(OSError, match="in use"):
                like_uvicorn(address)
            service.listen()
            leave_to_the_next(service)
            with pytest.raises(OSError, match="in use"):
                like_uvicorn(address)
            leave_a_connection_behind(service)
    like_uvicorn(address).close()


def test_on_systems_other_than_linux_the_socket_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with bound() as before:
        assert shared(before) is before
        assert not isinstance(before, SharedPort)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel is not told")
def test_earlier_connections_are_accepted_and_read_and_later_ones_are_ignored() -> None:
    with bound() as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()) as before:
            begin_no_more(listener)
            before.sendall(b"still here")
            with pytest.raises(TimeoutError):
                socket.create_connection(listener.getsockname(), timeout=0.2)
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.recv(16) == b"still here"
            listener.settimeout(0)
            with pytest.raises(BlockingIOError):
                listener.accept()


def test_on_systems_other_than_linux_later_connections_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with bound() as listener:
        listener.listen()
        begin_no_more(listener)
        with socket.create_connection(listener.getsockname(), timeout=5):
            listener.accept()[0].close()
