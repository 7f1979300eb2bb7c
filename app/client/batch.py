"""Puts pictures into batches, and follows each batch until all its pictures have their outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple

from app.client.exchange import LEAST_WAIT_SECONDS, backoff_seconds, error_of, form
from app.client.pictures import P, load
from app.errors import InvalidRequestError, PayloadTooLargeError, RetryableError, ServiceError, UnauthorizedError
from app.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from app.client.exchange import Form
    from app.schemas import BatchItem, Limits

BATCH_FILES = 32
"""Most pictures in a request; more would not be faster, and would delay the first answer."""

BATCH_BYTES = 10**6
"""Most bytes of pictures in a request, for the same reasons. Four requests at a time arrive within the 20 seconds that
the service waits for each on an uplink of 1.6 Mbit/s. With the headers of its parts, a request is still smaller than
the 2**20 bytes that nginx accepts by default."""


class Loaded(NamedTuple, Generic[P]):
    """A picture as it was given, with its bytes or the reason why there are none."""

    picture: P
    data: bytes = b""
    error: OSError | PayloadTooLargeError | None = None


def batches(pictures: Iterable[P], limits: Limits, at_once: int) -> Iterator[list[Loaded[P]]]:
    """Load pictures and put them into batches that the service accepts.

    Args:
        pictures: Any number of them.
        limits: The limits of the service.
        at_once: How many batches are sent at a time; together they take at most half of its places for images.
    """
    most_files = max(1, min(BATCH_FILES, limits.max_batch_files, limits.max_pending_images // (2 * at_once)))
    most_bytes = min(BATCH_BYTES, limits.max_batch_bytes // 2)  # the other half is for boundaries and headers, and more
    batch: list[Loaded[P]] = []
    batch_bytes = 0
    for picture in pictures:
        one = _loaded(picture, limits.max_body_bytes)
        if batch and batch_bytes + len(one.data) > most_bytes:
            yield batch
            batch, batch_bytes = [], 0
        batch.append(one)
        batch_bytes += len(one.data)
        if len(batch) == most_files:
            yield batch
            batch, batch_bytes = [], 0
    if batch:
        yield batch


class Batch(Generic[P]):
    """The pictures of one request until each has its outcome; those refused for now are sent again.

    Attributes:
        outcomes: The outcome of every picture, in order; the latest refusal for those that are to be sent again.
        wait_seconds: How long to wait before they are sent.
    """

    def __init__(self, pictures: Sequence[Loaded[P]], retries: int) -> None:
        """Start with the pictures as loaded; those that could not be read have their outcome already."""
        self.outcomes = [Outcome(one.picture, error=one.error) for one in pictures]
        self.wait_seconds = 0.0
        self._pictures = pictures
        self._waiting = [number for number, one in enumerate(pictures) if one.error is None]
        self._tries = 0
        self._retries = retries

    def form(self) -> Form:
        """Return the form to send, empty once every picture has its outcome; the order tells the pictures apart."""
        return form([("", self._pictures[number].data) for number in self._waiting])

    def take(self, items: Sequence[BatchItem]) -> None:
        """Record the service's answer to `form`."""
        for number, item in zip(self._waiting, items, strict=True):
            self.outcomes[number] = _outcome(self._pictures[number].picture, item)
        self._tries += 1
        self.wait_seconds = backoff_seconds(self._tries, LEAST_WAIT_SECONDS)
        refused = [number for number in self._waiting if isinstance(self.outcomes[number].error, RetryableError)]
        self._waiting = refused if self._tries <= self._retries else []

    def refuse(self, error: ServiceError) -> None:
        """Give all pictures that still wait the same error.

        Raises:
            UnauthorizedError: The error is one; every other batch would meet it as well.
            InvalidRequestError: The error is one; it concerns the options, which all batches share.
        """
        if isinstance(error, UnauthorizedError | InvalidRequestError):
            raise error
        for number in self._waiting:
            self.outcomes[number] = Outcome(self._pictures[number].picture, error=error)
        self._waiting = []


def _loaded(picture: P, most_bytes: int) -> Loaded[P]:
    """Load a picture; one that is too large for the service is read only as far as shows that it is."""
    try:
        data = load(picture, most_bytes + 1)
    except OSError as error:
        return Loaded(picture, error=error)
    if len(data) > most_bytes:
        return Loaded(picture, error=PayloadTooLargeError(f"Expected at most {most_bytes} bytes, found more."))
    return Loaded(picture, data)


def _outcome(picture: P, item: BatchItem) -> Outcome[P]:
    if item.problem is None:
        return Outcome(picture, item.result)
    return Outcome(picture, error=error_of(item.problem, LEAST_WAIT_SECONDS))
