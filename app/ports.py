"""Lets each worker listen on the port of all with a socket of its own."""

from __future__ import annotations

import socket
import sys


class SharedPort(socket.socket):
    """A bound socket that arrives in a worker as another one, bound to the same address.

    Linux deals new connections out to such sockets by a hash. Where all accept from one socket, the worker that happens
    to be awake takes most of a burst: of 64 connections, 15 to 30 went to one of two workers; so, 27 to 32.
    """

    def __reduce__(self) -> tuple[object, ...]:
        """Travel as the address."""
        return listen_with_others, self.getsockname()[:2]


def listen_with_others(host: str, port: int) -> SharedPort:
    """Bind a socket to an address that others of the same user may be bound to."""
    bound = SharedPort(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((host, port))
    return bound


def shared(bound: socket.socket) -> socket.socket:
    """Exchange a socket, which shows that nobody else has the address, for one that the workers can share.

    Elsewhere than on Linux it stays, since there all connections might go to one of them.
    """
    if sys.platform != "linux":
        return bound
    host, port, *_ = bound.getsockname()
    bound.close()
    return listen_with_others(host, port)
