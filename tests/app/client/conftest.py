"""Both clients behind one interface, since both promise the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Protocol

import pytest

from app.client import AsyncFashionClient, FashionClient

AnyClient = Any
"""A client of either kind."""


class Ask(Protocol):
    """Creates a client, calls it and closes it; an iterator's items are returned as a list."""

    def __call__(self, url: str, call: Callable[[AnyClient], Any], **options: Any) -> Any:  # noqa: ANN401
        ...


def ask_blocking(url: str, call: Callable[[AnyClient], Any], **options: Any) -> Any:  # noqa: ANN401
    with FashionClient(url, **options) as client:
        result = call(client)
        return list(result) if isinstance(result, Iterator) else result


def ask_on_a_loop(url: str, call: Callable[[AnyClient], Any], **options: Any) -> Any:  # noqa: ANN401
    async def run() -> Any:  # noqa: ANN401
        async with AsyncFashionClient(url, **options) as client:
            result: AsyncIterator[Any] | Awaitable[Any] = call(client)
            return [one async for one in result] if isinstance(result, AsyncIterator) else await result

    return asyncio.run(run())


@pytest.fixture(params=[ask_blocking, ask_on_a_loop], ids=["blocking", "asynchronous"])
def ask(request: pytest.FixtureRequest) -> Ask:
    ask: Ask = request.param
    return ask
