"""Lets each worker listen on the shared port with its own socket, and stop without losing half-open connections."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

if sys.platform != "win32":
    import resource

_SO_ATTACH_FILTER = 26
_SYN = 2
_FLAGS = 13
"""Offset of the flags in a TCP header."""

_IGNORE_SYN = (  # classic BPF: opcode, jump if true, jump if false, operand
    (0x30, 0, 0, _FLAGS),  # load a byte
    (0x45, 0, 1, _SYN),  # is this bit set?
    (0x06, 0, 0, 0),  # then drop the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # else keep all of it
)


class SharedPort(socket.socket):
    """A bound socket that arrives in a worker as another socket, bound to the same address.

    Linux distributes new connections over such sockets by a hash. If all workers accept from one socket, the worker
    that happens to be awake takes most of a burst: of 64 connections, 15 to 30 went to one of two workers. With a
    socket each, it was 27 to 32.
    """

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as the address."""
        return listen_with_others, self.getsockname()[:2]


def listen_with_others(host: str, port: int, *, reuse_address: bool = True) -> SharedPort:
    """Bind a socket to an address that other sockets of the same user may also be bound to.

    Args:
        host: IPv4 or IPv6 address.
        port: Above 0.
        reuse_address: Whether to bind even while earlier connections linger, or another socket does not listen yet.
    """
    bound = SharedPort(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse_address)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def shared(bound: socket.socket) -> socket.socket:
    """Replace a socket, which shows that nobody else has the address, by one that the workers can share.

    The new socket keeps out a second service while the model loads and nobody listens yet; Linux would let it in if
    both reused addresses. On other systems the socket is kept, since there all connections might go to one worker.
    """
    if sys.platform != "linux":
        return bound
    host, port, *_ = bound.getsockname()
    bound.close()
    try:
        return listen_with_others(host, port, reuse_address=False)
    except OSError:  # another program has left connections behind
        joined = listen_with_others(host, port)
        joined.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        return joined


def leave_to_the_next(listener: socket.socket) -> None:
    """Let the address be bound again as soon as this socket has closed, which must listen by now.

    Otherwise connections that the service closed first would keep it for a minute: they inherit what `shared` sets.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def allow_open_files(count: int) -> int:
    """Allow this process, and those that it starts, as many open files as the system permits, up to a number.

    Most systems begin with 1024, for programs that still use `select`, and permit far more. Where none is left, a
    connection is closed as soon as it is accepted, and nothing says why.

    Returns:
        How many it may have open now.
    """
    if sys.platform == "win32":
        return count
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return count
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):  # macOS has another limit, below the one that it names
        return soft
    return allowed


def listens(bound: socket.socket) -> bool:
    """Say whether a socket is open and accepts connections."""
    try:
        return bool(bound.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:  # it was closed
        return False


def begin_no_more(listener: socket.socket) -> None:
    """Make the kernel ignore new connection attempts, while handshakes in progress complete.

    Closing a listening socket resets a half-open connection, though the client may consider it established and have
    sent a request. An ignored client retries after a second, and reaches another worker or is refused. On systems other
    than Linux this does nothing.

    Source:
        Linux, `Documentation/networking/filter.rst`.
    """
    if sys.platform != "linux":
        return
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _IGNORE_SYN)
    kept = ctypes.create_string_buffer(code)
    program = struct.pack("HP", len(_IGNORE_SYN), ctypes.addressof(kept))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
