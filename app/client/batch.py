"""Puts pictures into batches, and gives each picture of a batch its outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple

from app.client.exchange import LEAST_WAIT_SECONDS, error_of, form
from app.client.pictures import P, load
from app.errors import InvalidRequestError, PayloadTooLargeError, ServiceError, UnauthorizedError
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


class Batching(Generic[P]):
    """Puts loaded pictures into batches that the service accepts."""

    def __init__(self, limits: Limits, at_once: int) -> None:
        """Take the limits of the service, and how many batches are sent at a time.

        Together these take at most half of the places that the service has for images.
        """
        self._most_files = max(1, min(BATCH_FILES, limits.max_batch_files, limits.max_pending_images // (2 * at_once)))
        # The other half is for boundaries and headers, and more.
        self._most_bytes = min(BATCH_BYTES, limits.max_batch_bytes // 2)
        self._batch: list[Loaded[P]] = []

    def add(self, one: Loaded[P]) -> Iterator[list[Loaded[P]]]:
        """Add a picture, and yield the batches that are full."""
        if sum(len(other.data) for other in self._batch) + len(one.data) > self._most_bytes:
            yield from self.rest()
        self._batch.append(one)
        if len(self._batch) == self._most_files:
            yield from self.rest()

    def rest(self) -> Iterator[list[Loaded[P]]]:
        """Yield the batch begun, if there is one."""
        batch, self._batch = self._batch, []
        if batch:
            yield batch


def batches(pictures: Iterable[P], limits: Limits, at_once: int) -> Iterator[list[Loaded[P]]]:
    """Load pictures, and yield them in batches."""
    batching: Batching[P] = Batching(limits, at_once)
    for picture in pictures:
        yield from batching.add(loaded(picture, limits.max_body_bytes))
    yield from batching.rest()


def form_of(pictures: Sequence[Loaded[P]]) -> Form:
    """Return the form to send, empty if no picture could be loaded; the order tells the pictures apart."""
    return form([("", one.data) for one in pictures if one.error is None])


def outcomes_of(pictures: Sequence[Loaded[P]], items: Iterable[BatchItem]) -> list[Outcome[P]]:
    """Return the outcome of each picture, given the service's answer to `form_of`."""
    answers = iter(items)
    return [
        _outcome(one.picture, next(answers)) if one.error is None else Outcome(one.picture, error=one.error)
        for one in pictures
    ]


def refusals_of(pictures: Sequence[Loaded[P]], error: ServiceError) -> list[Outcome[P]]:
    """Return the outcome of each picture if the service refused all of them.

    Raises:
        UnauthorizedError: The error is one; every other batch would meet it as well.
        InvalidRequestError: The error is one; it concerns the options, which all batches share.
    """
    if isinstance(error, UnauthorizedError | InvalidRequestError):
        raise error
    return [Outcome(one.picture, error=one.error or error) for one in pictures]


def loaded(picture: P, most_bytes: int) -> Loaded[P]:
    """Load a picture; one that is too large for the service is read only as far as shows that it is."""
    try:
        data = load(picture, most_bytes + 1)
    except OSError as error:
        return Loaded(picture, error=error)
    if len(data) > most_bytes:
        return Loaded(
            picture,
            error=PayloadTooLargeError(f"Expected at most {most_bytes} bytes, found more. Send a smaller picture."),
        )
    return Loaded(picture, data)


def _outcome(picture: P, item: BatchItem) -> Outcome[P]:
    if item.problem is None:
        return Outcome(picture, item.result)
    return Outcome(picture, error=error_of(item.problem, LEAST_WAIT_SECONDS))
