"""The asynchronous client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Self, cast

import httpx

from app.client import exchange
from app.client.batch import Batching, batches, form_of, loaded, outcomes_of, refusals_of
from app.client.pictures import load, name_of, several
from app.client.uplink import AsyncUplink
from app.concurrency import in_tasks
from app.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator

    from app.client.batch import Loaded
    from app.client.pictures import P, Picture
    from app.outcomes import Outcome
    from app.schemas import BatchItem, ClassName, Conversion, Limits, ModelInformation, Prediction


class AsyncFashionClient:
    """Does what `FashionClient` does, without blocking; pictures are read in threads."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_seconds: float = exchange.TIMEOUT_SECONDS,
        retries: int = exchange.RETRIES,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        """Configure the client, as `FashionClient` does."""
        self.url, self._auth = exchange.service_url(url)
        self._headers = exchange.key_headers(api_key)
        self._timeout_seconds = timeout_seconds
        # Waiting for a free connection of the pool, however many share it, does not mean that the service is silent.
        self._timeout = httpx.Timeout(timeout_seconds, pool=None)
        self._retries = retries
        self._http = http or exchange.http_client(httpx.AsyncClient, self.url)
        self._uplink = AsyncUplink()

    async def predict(self, picture: Picture, *, conversion: Conversion = "auto", preview: bool = False) -> Prediction:
        """Classify one picture, as `FashionClient.predict` does."""
        params, headers = exchange.query(conversion, preview=preview), {"Content-Type": exchange.BYTES}
        content = await asyncio.to_thread(load, picture)
        response = await self._send("POST", "/predict", params=params, content=content, headers=headers)
        return exchange.read(response, exchange.PREDICTION)

    async def predict_batch(
        self, pictures: Iterable[Picture], *, conversion: Conversion = "auto", preview: bool = False
    ) -> tuple[BatchItem, ...]:
        """Classify a few pictures in one request, as `FashionClient.predict_batch` does."""
        params = exchange.query(conversion, preview=preview)
        files = exchange.form(
            [(name_of(picture), await asyncio.to_thread(load, picture)) for picture in several(pictures)]
        )
        if not files:
            return ()
        response = await self._send("POST", "/predict/batch", params=params, files=files)
        return exchange.read_batch(response, len(files))

    async def predict_many(
        self,
        pictures: Iterable[P] | AsyncIterable[P],
        *,
        conversion: Conversion = "auto",
        preview: bool = False,
        at_once: int = 4,
        ordered: bool = True,
    ) -> AsyncGenerator[Outcome[P], None]:
        """Classify any number of pictures, as `FashionClient.predict_many` does.

        `pictures` is iterated in a thread if it is iterable, and on the event loop if it is asynchronously iterable.
        No answer comes while it is waited on for the next picture.
        """
        is_file = hasattr(pictures, "read")  # of an asynchronous library, whose lines are no pictures
        given = (
            pictures if isinstance(pictures, AsyncIterable) and not is_file else several(cast("Iterable[P]", pictures))
        )
        limits = exchange.read(await self._send("GET", "/model"), exchange.LIMITS).limits
        answer = partial(self._answer, run=exchange.Run(), params=exchange.query(conversion, preview=preview))
        if isinstance(given, AsyncIterable):
            work = _from_the_loop(given, limits, at_once)
        else:
            work = _from_a_thread(batches(given, limits, at_once))
        async with aclosing(work), aclosing(in_tasks(answer, work, at_once, ordered=ordered)) as answered:
            async for outcomes in answered:
                for outcome in outcomes:
                    yield outcome

    async def classes(self) -> tuple[ClassName, ...]:
        """Return the ten classes in the order of the probabilities."""
        return exchange.read(await self._send("GET", "/classes"), exchange.CLASSES)

    async def model(self) -> ModelInformation:
        """Return the model card, the limits in force and the version."""
        return exchange.read(await self._send("GET", "/model"), exchange.MODEL)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        await self.close()

    async def _answer(self, pictures: list[Loaded[P]], run: exchange.Run, params: dict[str, str]) -> list[Outcome[P]]:
        if not (files := form_of(pictures)):
            return outcomes_of(pictures, ())
        try:
            response = await self._send("POST", "/predict/batch", run, params=params, files=files)
            return outcomes_of(pictures, exchange.read_batch(response, len(files)))
        except ServiceError as error:
            return refusals_of(pictures, error)

    async def _send(
        self,
        method: str,
        path: str,
        run: exchange.Run | None = None,
        **content: Any,  # noqa: ANN401  httpx's own arguments
    ) -> httpx.Response:
        run = run or exchange.Run()
        headers = self._headers | content.pop("headers", {})
        request = self._http.build_request(method, self.url + path, timeout=self._timeout, headers=headers, **content)
        tries = 0
        while True:
            tries += 1
            try:
                async with self._uplink.alone() if run.is_slow else self._uplink.shared() as turn:
                    response = await self._http.send(request, auth=self._auth, follow_redirects=False)
            except httpx.RequestError as error:
                wait = exchange.wait_after_failure(error, tries, self._retries)
                if wait is None:
                    raise exchange.failure(error, self.url, self._timeout_seconds) from error
            else:
                if exchange.is_too_slow(response):
                    run.is_slow = True
                wait = exchange.wait_after_answer(response, tries, self._retries, alone=turn.is_alone)
                if wait is None:
                    return response
            await asyncio.sleep(wait)


async def _from_the_loop(
    pictures: AsyncIterable[P], limits: Limits, at_once: int
) -> AsyncGenerator[list[Loaded[P]], None]:
    """Yield batches of pictures, each loaded in a thread because that may read its file."""
    batching: Batching[P] = Batching(limits, at_once)
    async for picture in pictures:
        for batch in batching.add(await asyncio.to_thread(loaded, picture, limits.max_body_bytes)):
            yield batch
    for batch in batching.rest():
        yield batch


async def _from_a_thread(batches: Iterator[list[Loaded[P]]]) -> AsyncGenerator[list[Loaded[P]], None]:
    """Yield each batch, taken in a thread because that reads its files."""
    while batch := await asyncio.to_thread(next, batches, None):
        yield batch
