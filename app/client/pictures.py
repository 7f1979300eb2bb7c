"""Turns whatever a caller calls a picture into bytes to send."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeVar

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO | Image"
"""A path, encoded bytes, a file opened in binary mode, or an image of Pillow."""

P = TypeVar("P", bound=Picture)

LOSSLESS_PIXELS = 2**20
"""A larger image of Pillow's is sent as JPEG, since as PNG a photograph would be over the service's limit."""


def load(picture: Picture) -> bytes:
    """Return the encoded bytes of a picture.

    Raises:
        OSError: The file cannot be read, or the image not be encoded.
    """
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, str | os.PathLike):
        return Path(picture).read_bytes()
    if hasattr(picture, "read"):
        return picture.read()
    return _encode(picture)


def name_of(picture: Picture) -> str:
    """Return the last part of a picture's path, or nothing where it has none."""
    path = picture if isinstance(picture, str | os.PathLike) else getattr(picture, "name", "")
    return Path(path).name.encode(errors="replace").decode() if isinstance(path, str | os.PathLike) else ""


def _encode(image: Image) -> bytes:
    """Encode an image without loss, except for a large photograph, with the tag that says which side is up."""
    buffer = io.BytesIO()
    if image.mode in {"RGB", "L"} and image.width * image.height > LOSSLESS_PIXELS:
        image.save(buffer, "JPEG", quality=95, exif=image.getexif())
    elif image.mode in {"CMYK", "YCbCr", "LAB", "F"}:  # modes that PNG has not
        image.save(buffer, "TIFF", exif=image.getexif())
    else:
        image.save(buffer, "PNG", compress_level=1, exif=image.getexif())
    return buffer.getvalue()
