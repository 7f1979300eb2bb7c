"""The blocking client."""

from __future__ import annotations

from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import httpx

from app.client import exchange
from app.client.batch import batches, form_of, outcomes_of, refusals_of
from app.client.pictures import load, name_of, several
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
    """A client of a Fashion-MNIST service that retries where that helps; threads may share it."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_seconds: float = exchange.TIMEOUT_SECONDS,
        retries: int = exchange.RETRIES,
        http: httpx.Client | None = None,
    ) -> None:
        """Configure the client; nothing is sent yet.

        Args:
            url: Address of the service; by default that in `FASHION_URL`, or `http://localhost:8000`.
            api_key: Key for a service that asks for one; by default that in `FASHION_API_KEY`.
            timeout_seconds: How long to wait for a connection, and then for each chunk sent or received.
            retries: How often to retry when the service cannot be reached or asks to come back later (429, 502, 503);
                `Retry-After` is honoured. A request that arrived too slowly beside others is retried too, while this
                client sends nothing else.
            http: An httpx client to send with, for credentials or certificates; its base URL and timeout are not
                used, and it is closed with this one.

        Raises:
            httpx.InvalidURL: The address cannot be that of a service; the message says why, or what was probably meant.
            ValueError: The key cannot be sent in a header.
            UnreachableError: The environment names a proxy or certificates that cannot be used.
        """
        self.url, self._auth = exchange.service_url(url)
        self._headers = exchange.key_headers(api_key)
        self._timeout_seconds = timeout_seconds
        # Waiting for a free connection of the pool, however many share it, does not mean that the service is silent.
        self._timeout = httpx.Timeout(timeout_seconds, pool=None)
        self._retries = retries
        self._http = http or exchange.http_client(httpx.Client, self.url)
        self._uplink = Uplink()

    def predict(self, picture: Picture, *, conversion: Conversion = "auto", preview: bool = False) -> Prediction:
        """Classify one picture.

        Args:
            picture: A path, bytes, a file opened in binary mode, a Pillow image, or an array: uint8 `[height, width]`
                of greys, or `[height, width, channels]` with one channel of greys, or those of RGB or RGBA.
            conversion: How it becomes the 28x28 image that the model sees.
            preview: Whether the answer is to include that image.

        Raises:
            ServiceError: The service refused the picture, or did not answer in time; the class says why.
            UnreachableError: No Fashion-MNIST service answers.
            OSError: The picture cannot be read.
            TypeError: The object is not a picture.
        """
        params, headers = exchange.query(conversion, preview=preview), {"Content-Type": exchange.BYTES}
        response = self._send("POST", "/predict", params=params, content=load(picture), headers=headers)
        return exchange.read(response, exchange.PREDICTION)

    def predict_batch(
        self, pictures: Iterable[Picture], *, conversion: Conversion = "auto", preview: bool = False
    ) -> tuple[BatchItem, ...]:
        """Classify a few pictures in one request, and return a result or a problem for each, in order.

        Raises:
            ServiceError: The service refused the whole request.
            UnreachableError: No Fashion-MNIST service answers.
            OSError: A picture cannot be read.
            TypeError: An object is not a picture, or one picture is given instead of several.
        """
        params = exchange.query(conversion, preview=preview)
        files = exchange.form((name_of(picture), load(picture)) for picture in several(pictures))
        if not files:
            return ()
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
        """Classify any number of pictures in batches, reading them only as the answers are used.

        All batches under way take at most half of the places that the service has for pictures (36 by default). Once a
        request has arrived too slowly, requests are sent one at a time.

        Args:
            pictures: Any number of what `predict` takes.
            conversion: As for `predict`.
            preview: As for `predict`.
            at_once: How many requests are under way at a time.
            ordered: Whether outcomes come in the order of the pictures, rather than as soon as each is there. None
                comes while `pictures` is waited on for the next picture.

        Yields:
            Each picture with its prediction, or with the error that concerns it alone.

        Raises:
            UnauthorizedError: The service asks for another key.
            InvalidRequestError: There is no such conversion.
            ServiceError: The service does not say what its limits are; the class says why.
            UnreachableError: No Fashion-MNIST service answers.
            TypeError: An object is not a picture, or one picture is given instead of several.
        """
        limits = exchange.read(self._send("GET", "/model"), exchange.LIMITS).limits
        run = exchange.Run()
        answer = partial(self._answer, run=run, params=exchange.query(conversion, preview=preview))
        work = batches(several(pictures), limits, at_once)
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
        if not (files := form_of(pictures)):
            return outcomes_of(pictures, ())
        try:
            response = self._send("POST", "/predict/batch", run, params=params, files=files)
            return outcomes_of(pictures, exchange.read_batch(response, len(files)))
        except ServiceError as error:
            return refusals_of(pictures, error)

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
            try:
                with self._uplink.alone() if run.is_slow else self._uplink.shared() as turn:
                    if run.has_ended.is_set():
                        raise CancelledError  # nobody would read the answer
                    response = self._http.send(
                        request, auth=self._auth, follow_redirects=False
                    )  # no other host is to see the key
            except (httpx.RequestError, UnicodeError) as error:  # the latter for a name that no host can have
                wait = exchange.wait_after_failure(error, tries, self._retries)
                if wait is None:
                    raise exchange.failure(error, self.url, self._timeout_seconds) from error
            else:
                if exchange.is_too_slow(response):
                    run.is_slow = True
                wait = exchange.wait_after_answer(response, tries, self._retries, alone=turn.is_alone)
                if wait is None:
                    return response
            run.has_ended.wait(wait)
