"""The requests of a soak: good ones with the artifact's answers, and bad ones with the refusals to expect."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import numpy as np

from app.settings import Settings
from benchmarks.serving.measure import PHOTO_SIZE, TOLERANCE
from benchmarks.serving.pictures import native_images, photograph, png
from benchmarks.serving.systems import BOUNDARY, MULTIPART, form, ranked
from benchmarks.soak.connection import request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from benchmarks.soak.connection import Answer

NATIVES, PHOTOGRAPHS, BATCHES, BATCH_FILES = 200, 40, 10, 8
SHARES = {"raw": 0.42, "form": 0.2, "photograph": 0.12, "photograph in a form": 0.05, "batch": 0.03, "bad": 0.18}
"""Share of each kind among the requests."""

BEGINNING_BYTES = 1000
DRAWN = 1000


@dataclass(frozen=True, slots=True)
class Request:
    """A request to send.

    Attributes:
        kind: Its name in the tables.
        sent: Its bytes.
        is_right: Checks the answer; None if the client hangs up before there is one.
        leaves: Whether the client closes the connection afterwards, because it did not send the whole body.
    """

    kind: str
    sent: bytes
    is_right: Callable[[Answer], bool] | None
    leaves: bool = False


class Pictures:
    """The pictures in good requests, always the same for one seed."""

    def __init__(self, seed: int) -> None:
        """Make the pictures."""
        rng = np.random.default_rng(seed)
        images = native_images(NATIVES)
        self.native = [png(image) for image in images]
        self.photographs = [photograph(image, PHOTO_SIZE, rng) for image in images[:PHOTOGRAPHS]]

    @property
    def all(self) -> list[bytes]:
        """All pictures, native ones first."""
        return self.native + self.photographs


def good(pictures: Pictures, probabilities: NDArray[np.float32]) -> dict[str, list[Request]]:
    """Return good requests by kind.

    Args:
        pictures: The pictures to send.
        probabilities: The artifact's probabilities for each, float32 `[n, 10]`.
    """
    native, photographs = probabilities[: len(pictures.native)], probabilities[len(pictures.native) :]
    in_form = form("file")
    made: dict[str, list[Request]] = {}
    for kind, some, rows in (("", pictures.native, native), ("photograph", pictures.photographs, photographs)):
        for picture, row in zip(some, rows, strict=True):
            check = partial(answers, row)
            ways = {
                kind or "raw": request("/predict", picture, "image/png"),
                f"{kind} in a form" if kind else "form": request("/predict", in_form(picture), MULTIPART),
            }
            for way, sent in ways.items():
                made.setdefault(way, []).append(Request(way, sent, check))
    for start in range(0, BATCHES * BATCH_FILES, BATCH_FILES):
        some, rows = pictures.native[start : start + BATCH_FILES], native[start : start + BATCH_FILES]
        sent = request("/predict/batch", batch([*some, b"no picture"]), MULTIPART)
        made.setdefault("batch", []).append(Request("batch", sent, partial(answers_batch, rows)))
    return made


def bad(pictures: Pictures) -> list[Request]:
    """Return one bad request of each kind."""
    settings = Settings()
    native, photo = pictures.native[0], pictures.photographs[0]
    header = native[12:16] + (2**15).to_bytes(4, "big") * 2 + native[24:29]  # a PNG header with the right checksum
    huge = native[:12] + header + zlib.crc32(header).to_bytes(4, "big") + native[33:]
    without_end = form("file")(native).replace(f"\r\n--{BOUNDARY}--\r\n".encode(), b"")
    announced = request("/predict", b"\xff" * BEGINNING_BYTES, "image/jpeg", announced=settings.max_body_bytes + 1)
    half = request("/predict", photo[: len(photo) // 2], "image/jpeg", announced=len(photo))
    return [
        Request("cut off", request("/predict", photo[:BEGINNING_BYTES], "image/jpeg"), refused(422, "invalid_image")),
        Request("empty", request("/predict"), refused(422, "invalid_image")),
        Request(
            "no picture", request("/predict", b"GIF is what this is not" * 9), refused(415, "unsupported_media_type")
        ),
        Request("too many pixels", request("/predict", huge), refused(413, "image_too_large")),
        Request("too many bytes", announced, refused(413, "payload_too_large"), leaves=True),
        Request("form without an end", request("/predict", without_end, MULTIPART), refused(422, "invalid_request")),
        Request(
            "form without the field",
            request("/predict", form("fiel")(native), MULTIPART),
            refused(422, "invalid_request"),
        ),
        Request("unknown conversion", request("/predict?conversion=magic", native), refused(422, "invalid_request")),
        Request("unknown path", request("/predcit", native), has_status(HTTPStatus.NOT_FOUND)),
        Request("wrong method", request("/predict", method="GET"), has_status(HTTPStatus.METHOD_NOT_ALLOWED)),
        Request("hangs up", half, None),
    ]


def batch(pictures: Sequence[bytes]) -> bytes:
    """Encode pictures as fields of one form."""
    end = f"--{BOUNDARY}--\r\n".encode()
    return b"".join(form("files")(picture).removesuffix(end) for picture in pictures) + end


def answers(row: NDArray[np.float32], answer: Answer) -> bool:
    """Return whether an answer has the artifact's probabilities, float32 `[10]`."""
    return answer.status == HTTPStatus.OK and _is_close(ranked(json.loads(answer.body)), row)


def answers_batch(rows: NDArray[np.float32], answer: Answer) -> bool:
    """Return whether a batch's answer has the artifact's probabilities, float32 `[n, 10]`, and a problem at its end."""
    if answer.status != HTTPStatus.OK:
        return False
    *results, last = json.loads(answer.body)["results"]
    if last["problem"]["code"] != "unsupported_media_type" or len(results) != len(rows):
        return False
    # Under overload, single pictures of a batch may be refused.
    return all(
        one["problem"]["code"] == "overloaded" if "problem" in one else _is_close(ranked(one["result"]), row)
        for one, row in zip(results, rows, strict=True)
    )


def refused(status: int, code: str) -> Callable[[Answer], bool]:
    """Return a check that an answer is a problem with this status and code."""
    return lambda answer: answer.status == status and json.loads(answer.body)["code"] == code


def has_status(status: int) -> Callable[[Answer], bool]:
    """Return a check of an answer's status alone."""
    return lambda answer: answer.status == status


def _is_close(received: list[float], row: NDArray[np.float32]) -> bool:
    return bool(np.abs(np.asarray(received) - row).max() <= TOLERANCE)


class Mix:
    """Draws random requests without end."""

    def __init__(self, kinds: dict[str, list[Request]], rng: np.random.Generator) -> None:
        """Set the requests by kind, which are drawn according to `SHARES`, and the random generator."""
        self._kinds = [kinds[kind] for kind in SHARES]
        self._rng = rng

    def __iter__(self) -> Iterator[Request]:
        """Draw requests; random numbers come in blocks, since each call of the generator costs as much as a request."""
        while True:
            kinds = self._rng.choice(len(self._kinds), DRAWN, p=list(SHARES.values()))
            for kind, place in zip(kinds.tolist(), self._rng.random(DRAWN).tolist(), strict=True):
                some = self._kinds[kind]
                yield some[int(place * len(some))]
