"""Fixtures that several benchmarks' tests share."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def port() -> Iterator[int]:
    """Yield a port on which nothing listens, except a server that the test starts."""
    with socket.socket() as held:  # nobody else is given a port that is bound
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # so that a server with this option can bind it too
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


@pytest.fixture
def no_service(port: int) -> str:
    """Return a URL at which nothing answers."""
    return f"http://127.0.0.1:{port}"
