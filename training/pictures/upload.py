"""Makes a file of a picture, and converts and classifies it as the service does when it is uploaded."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from app.classifier import Answers
from app.imaging.conversion import Mode, convert
from app.imaging.decode import decode
from app.imaging.recognition import evidence_in, weigh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from app.classifier import Classifier
    from app.imaging.conversion import Converted
    from app.imaging.decode import Decoded

MAX_IMAGE_PIXELS = 50_000_000
"""The service's default limit."""


def encoded(picture: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    """Return a picture as the bytes of a file of that format."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def decode_upload(data: bytes) -> Decoded:
    """Decode the bytes of a file.

    Raises:
        ServiceError: The service would refuse them.
    """
    return decode(data, "", MAX_IMAGE_PIXELS)


def convert_upload(data: bytes) -> Converted:
    """Decode the bytes of a file and convert them in the service's default mode, `auto`.

    Raises:
        ServiceError: The service would refuse them.
    """
    decoded = decode_upload(data)
    return convert(decoded.pixels, Mode.AUTO, decoded.opacity)


def answer_uploads(classifier: Classifier, converted: Sequence[Converted]) -> Answers:
    """Classify converted files: combine the model's answer with the evidence from a photograph's colours."""
    probabilities, familiarity = classifier.classify(np.stack([one.image for one in converted]))
    card = classifier.card
    weighed = [
        weigh(row, evidence_in(one.colours, card.labels), card.photo_temperature)
        for row, one in zip(probabilities, converted, strict=True)
    ]
    return Answers(np.stack(weighed), familiarity)
