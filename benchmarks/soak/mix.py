"""The requests of a soak: good ones with the answers that the artifact gives, and bad ones with what refuses them."""

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
"""How often each kind is sent."""

BEGINNING_BYTES = 1000
DRAWN = 1000


@dataclass(frozen=True, slots=True)
class Request:
    """Something to send.

    Attributes:
        kind: What it is, as the tables have it.
        sent: Its bytes.
        is_right: Judges the answer; None where the client hangs up before there is one.
        leaves: Whether the client closes the connection afterwards, as its body was not sent to the end.
    """

    kind: str
    sent: bytes
    is_right: Callable[[Answer], bool] | None
    leaves: bool = False


class Pictures:
    """What good requests are made of, the same for each seed."""

    def __init__(self, seed: int) -> None:
        """Draw the photographs."""
        rng = np.random.default_rng(seed)
        images = native_images(NATIVES)
        self.native = [png(image) for image in images]
        self.photographs = [photograph(image, PHOTO_SIZE, rng) for image in images[:PHOTOGRAPHS]]

    @property
    def all(self) -> list[bytes]:
        """All of them, native ones first."""
        return self.native + self.photographs


def good(pictures: Pictures, probabilities: NDArray[np.float32]) -> dict[str, list[Request]]:
    """Return good requests by kind.

    Args:
        pictures: What to send.
        probabilities: What the artifact says of each, float32 `[n, 10]`.
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
    """Return bad requests of each sort."""
    settings = Settings()
    native, photo = pictures.native[0], pictures.photographs[0]
    header = native[12:16] + (2**15).to_bytes(4, "big") * 2 + native[24:29]  # of a PNG, its checksum right
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
    """Write pictures as fields of one form."""
    end = f"--{BOUNDARY}--\r\n".encode()
    return b"".join(form("files")(picture).removesuffix(end) for picture in pictures) + end


def answers(row: NDArray[np.float32], answer: Answer) -> bool:
    """Tell whether an answer has the artifact's probabilities, float32 `[10]`."""
    return answer.status == HTTPStatus.OK and _is_close(ranked(json.loads(answer.body)), row)


def answers_batch(rows: NDArray[np.float32], answer: Answer) -> bool:
    """Tell whether a batch has the artifact's probabilities, float32 `[n, 10]`, and a problem at its end."""
    if answer.status != HTTPStatus.OK:
        return False
    *results, last = json.loads(answer.body)["results"]
    if last["problem"]["code"] != "unsupported_media_type" or len(results) != len(rows):
        return False
    # A picture of a batch may be refused for itself where too much waits.
    return all(
        one["problem"]["code"] == "overloaded" if "problem" in one else _is_close(ranked(one["result"]), row)
        for one, row in zip(results, rows, strict=True)
    )


def refused(status: int, code: str) -> Callable[[Answer], bool]:
    """Expect a problem."""
    return lambda answer: answer.status == status and json.loads(answer.body)["code"] == code


def has_status(status: int) -> Callable[[Answer], bool]:
    """Expect a status alone."""
    return lambda answer: answer.status == status


def _is_close(received: list[float], row: NDArray[np.float32]) -> bool:
    return bool(np.abs(np.asarray(received) - row).max() <= TOLERANCE)


class Mix:
    """Draws one request after the other, without end."""

    def __init__(self, kinds: dict[str, list[Request]], rng: np.random.Generator) -> None:
        """Take the requests by kind, `SHARES` of which are drawn, and what decides."""
        self._kinds = [kinds[kind] for kind in SHARES]
        self._rng = rng

    def __iter__(self) -> Iterator[Request]:
        """Draw the next; the generator is asked for many at once, since each call costs as much as a request."""
        while True:
            kinds = self._rng.choice(len(self._kinds), DRAWN, p=list(SHARES.values()))
            for kind, place in zip(kinds.tolist(), self._rng.random(DRAWN).tolist(), strict=True):
                some = self._kinds[kind]
                yield some[int(place * len(some))]
