"""Converts a file as the service does when it is uploaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.imaging.conversion import Mode, convert
from app.imaging.decode import decode

if TYPE_CHECKING:
    from app.imaging.conversion import Converted
    from app.imaging.decode import Decoded

MAX_IMAGE_PIXELS = 50_000_000
"""As the service's own limit is by default."""


def decode_upload(data: bytes) -> Decoded:
    """Decode the bytes of a file.

    Raises:
        ServiceError: The service would refuse them.
    """
    return decode(data, "", MAX_IMAGE_PIXELS)


def convert_upload(data: bytes) -> Converted:
    """Decode the bytes of a file and convert them by the service's default, `auto`.

    Raises:
        ServiceError: The service would refuse them.
    """
    decoded = decode_upload(data)
    return convert(decoded.pixels, Mode.AUTO, decoded.opacity)
