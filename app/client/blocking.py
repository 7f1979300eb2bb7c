"""The client that blocks."""

from __future__ import annotations

from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import httpx

from app.client import exchange
from app.client.batch import Batch, batches
from app.client.pictures import load, name_of
from app.client.uplink import Uplink
from app.concurrency import in_threads
from app.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from app.client.batch import Loaded
    from app.client.pictures import P, Picture
    from app.outcomes import Outcome
    from app.schemas import BatchItem, ClassName, Conversion, ModelInformation, Prediction


class FashionClient:
    """Asks a Fashion-MNIST service, again where that helps; may be shared by threads."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_seconds: float = exchange.TIMEOUT_SECONDS,
        retries: int = exchange.RETRIES,
        http: httpx.Client | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            url: Where the service is; by default what `FASHION_URL` says, or `http://localhost:8000`.
            api_key: The key that the service asks for, if it does; by default what `FASHION_API_KEY` says.
            timeout_seconds: How long to wait for a connection, and then for each next piece sent or received.
            retries: How often to retry when the service cannot be reached or asks to come back later (429, 502, 503);
                `Retry-After` is obeyed. A request that arrived too slowly beside others counts as one, sent while this
                client sends nothing else.
            http: A client of httpx to send with, for credentials or certificates; it is closed with this one.

        Raises:
            httpx.InvalidURL: The address is none of a service; the message names the one that was probably meant.
            ValueError: The key cannot stand in a header.
            UnreachableError: The environment names a proxy or certificates that cannot be used.
        """
        self.url, self._auth = exchange.service_url(url)
        self._headers = exchange.key_headers(api_key)
        self._timeout_seconds = timeout_seconds
        # Waiting for one of its own connections, however many share it, is no silence of the service.
        self._timeout = httpx.Timeout(timeout_seconds, pool=None)
        self._retries = retries
        self._http = http or exchange.http_client(httpx.Client, self.url)
        self._uplink = Uplink()

    def predict(self, picture: Picture, *, conversion: Conversion = "auto", preview: bool = False) -> Prediction:
        """Classify one picture.

        Args:
            picture: A path, bytes, a file opened in binary mode, an image of Pillow, or an array: uint8
                `[height, width]` of greys or `[height, width, 3 or 4]` of RGB or RGBA.
            conversion: How it becomes the 28x28 image that the model sees.
            preview: Whether to answer with that image.

        Raises:
            ServiceError: The service refuses it, or did not answer in time; the class says why.
            UnreachableError: There is no such service.
            OSError: The picture cannot be read.
            TypeError: It is no picture.
        """
        params, headers = exchange.query(conversion, preview=preview), {"Content-Type": exchange.BYTES}
        response = self._send("POST", "/predict", params=params, content=load(picture), headers=headers)
        return exchange.read(response, exchange.PREDICTION)

    def predict_batch(
        self, pictures: Iterable[Picture], *, conversion: Conversion = "auto", preview: bool = False
    ) -> tuple[BatchItem, ...]:
        """Classify a few pictures in one request: a result or a problem for each, in order.

        Raises:
            ServiceError: The service refuses them all.
            UnreachableError: There is no such service.
            OSError: A picture cannot be read.
            TypeError: One is no picture.
        """
        params = exchange.query(conversion, preview=preview)
        files = exchange.form((name_of(picture), load(picture)) for picture in pictures)
        response = self._send("POST", "/predict/batch", params=params, files=files)
        return exchange.read_batch(response, len(files))

    def predict_many(
        self,
        pictures: Iterable[P],
        *,
        conversion: Conversion = "auto",
        preview: bool = False,
        at_once: int = 4,
        ordered: bool = True,
    ) -> Generator[Outcome[P], None, None]:
        """Classify any number of pictures in requests of up to 32, reading them only as the answers are used.

        Once a request has arrived too slowly, one is sent at a time.

        Args:
            pictures: What `predict` takes.
            conversion: As there.
            preview: As there.
            at_once: How many requests are under way at a time.
            ordered: Whether outcomes come in the order of the pictures, or as soon as each is there; none comes while
                the next picture is waited for.

        Yields:
            Each picture with its prediction, or with the error that concerns it alone.

        Raises:
            UnauthorizedError: The service asks for another key.
            ServiceError: It does not say what its limits are; the class says why.
            UnreachableError: There is no such service.
            TypeError: One is no picture.
        """
        limits = exchange.read(self._send("GET", "/model"), exchange.LIMITS).limits
        run = exchange.Run()
        answer = partial(self._answer, run=run, params=exchange.query(conversion, preview=preview))
        work = batches(pictures, limits, at_once)
        for outcomes in in_threads(answer, work, at_once, ordered=ordered, has_ended=run.has_ended):
            yield from outcomes

    def classes(self) -> tuple[ClassName, ...]:
        """Return the ten classes in the order of the probabilities."""
        return exchange.read(self._send("GET", "/classes"), exchange.CLASSES)

    def model(self) -> ModelInformation:
        """Return the model card, the limits in force and the version."""
        return exchange.read(self._send("GET", "/model"), exchange.MODEL)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        self.close()

    def _answer(self, pictures: list[Loaded[P]], run: exchange.Run, params: dict[str, str]) -> list[Outcome[P]]:
        batch = Batch(pictures, self._retries)
        while files := batch.form():
            run.has_ended.wait(batch.wait_seconds)
            try:
                response = self._send("POST", "/predict/batch", run, params=params, files=files)
                batch.take(exchange.read_batch(response, len(files)))
            except ServiceError as error:
                batch.refuse(error)
        return batch.outcomes

    def _send(
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
            alone = run.is_slow
            try:
                with self._uplink.alone() if alone else self._uplink.shared():
                    if run.has_ended.is_set():
                        raise CancelledError  # nobody would read the answer
                    response = self._http.send(
                        request, auth=self._auth, follow_redirects=False
                    )  # nobody else is to see the key
            except (httpx.RequestError, UnicodeError) as error:  # the latter of a name that no host can have
                wait = exchange.wait_after_failure(error, tries, self._retries)
                if wait is None:
                    raise exchange.failure(error, self.url, self._timeout_seconds) from error
            else:
                if exchange.is_too_slow(response):
                    run.is_slow = True
                wait = exchange.wait_after_answer(response, tries, self._retries, alone=alone)
                if wait is None:
                    return response
            run.has_ended.wait(wait)
