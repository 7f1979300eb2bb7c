from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.soak.connection import Connection, request

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def test_a_connection_closed_while_idle_is_reopened() -> None:
    opened, closed = 0, asyncio.Event()

    async def answer_once(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal opened
        opened += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        closed.set()

    async def run() -> list[bytes]:
        async with await asyncio.start_server(answer_once, "127.0.0.1", 0) as server:
            connection = Connection(server.sockets[0].getsockname()[1])
            bodies = []
            for _ in range(3):
                bodies.append((await connection.ask(request("/", method="GET"))).body)
                await closed.wait()
                closed.clear()
                await asyncio.sleep(0.01)  # until the close has arrived
            connection.close()
            return bodies

    assert asyncio.run(run()) == [b"ok"] * 3
    assert opened == 3
