"""Speaks HTTP/1.1 at a tenth of a client library's cost, since the load shares its cores with the service."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

TIMEOUT_SECONDS = 60
HEAD_BYTES = 2**20


class Answer(NamedTuple):
    """A response; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """A connection to a server, opened when needed and kept as long as the server keeps it."""

    def __init__(self, port: int) -> None:
        """Set the port on this machine."""
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> Answer:
        """Send a whole request, and return the response.

        Raises:
            OSError: The connection was lost or could not be opened.
            TimeoutError: No whole answer came within a minute; this is an `OSError` too.
        """
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                reader, writer = await self._open()
                writer.write(request)
                return await self._read(reader)
        except OSError:
            self.close()
            raise
        except asyncio.IncompleteReadError as error:
            self.close()
            msg = f"expected an answer, found the connection closed after {len(error.partial)} bytes"
            raise ConnectionResetError(msg) from error

    async def hang_up(self, part: bytes) -> None:
        """Send part of a request, and close the connection."""
        _, writer = await self._open()
        writer.write(part)
        await writer.drain()
        self.close()

    def close(self) -> None:
        """Close the connection if it is open."""
        if self._streams:
            self._streams[1].close()
            self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams and self._streams[0].at_eof():  # closed by the server, after `FASHION_KEEP_ALIVE_SECONDS`
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=HEAD_BYTES)
        return self._streams

    async def _read(self, reader: asyncio.StreamReader) -> Answer:
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            self.close()
        return Answer(int(status.split()[1]), headers, body)


def request(path: str, body: bytes = b"", content_type: str = "", method: str = "POST", announced: int = -1) -> bytes:
    """Return a request as it is sent; `announced`, unless negative, replaces the body's length in its header."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += f"Content-Type: {content_type}\r\n" if content_type else ""
    head += f"Content-Length: {len(body) if announced < 0 else announced}\r\n\r\n"
    return head.encode() + body
