"""Lets each worker listen on the port of all with a socket of its own, and stop without losing half a connection."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

_SO_ATTACH_FILTER = 26
_SYN = 2
_FLAGS = 13
"""Where a TCP header has its flags."""

_IGNORE_SYN = (  # classic BPF: opcode, jump if true, jump if false, operand
    (0x30, 0, 0, _FLAGS),  # load a byte
    (0x45, 0, 1, _SYN),  # is this bit set?
    (0x06, 0, 0, 0),  # then keep nothing of the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # else all of it
)


class SharedPort(socket.socket):
    """A bound socket that arrives in a worker as another one, bound to the same address.

    Linux deals new connections out to such sockets by a hash. Where all accept from one socket, the worker that happens
    to be awake takes most of a burst: of 64 connections, 15 to 30 went to one of two workers; so, 27 to 32.
    """

    def __reduce__(self) -> tuple[object, ...]:
        """Travel as the address."""
        return listen_with_others, self.getsockname()[:2]


def listen_with_others(host: str, port: int, *, reuse_address: bool = True) -> SharedPort:
    """Bind a socket to an address that others of the same user may be bound to.

    Args:
        host: IPv4 or IPv6.
        port: Above 0.
        reuse_address: Also where connections of before are not over, and where others do not listen yet.
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
    """Exchange a socket, which shows that nobody else has the address, for one that the workers can share.

    It does not let in a second service while the model loads and nobody listens yet: Linux would, where both reuse
    addresses.
    Elsewhere than on Linux it stays, since there all connections might go to one of them.
    """
    if sys.platform != "linux":
        return bound
    host, port, *_ = bound.getsockname()
    bound.close()
    try:
        return listen_with_others(host, port, reuse_address=False)
    except OSError:  # a service before has left connections behind
        return listen_with_others(host, port)


def listens(bound: socket.socket) -> bool:
    """Say whether a socket is open and accepts connections."""
    try:
        return bool(bound.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:  # it was closed
        return False


def begin_no_more(listener: socket.socket) -> None:
    """Let the kernel ignore who begins to connect, while handshakes that have begun come to an end.

    Closing a listening socket resets a connection that is half made, though the client may take it for whole and have
    sent a request. Who is ignored asks again after a second, and gets to another worker or is refused. Elsewhere than
    on Linux nothing is done.

    Source:
        Linux, `Documentation/networking/filter.rst`.
    """
    if sys.platform != "linux":
        return
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _IGNORE_SYN)
    kept = ctypes.create_string_buffer(code)
    program = struct.pack("HP", len(_IGNORE_SYN), ctypes.addressof(kept))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
