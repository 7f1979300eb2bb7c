"""Turns a picture, in whichever form a caller gives it, into bytes to send."""

from __future__ import annotations

import io
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

Picture: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image | NDArray[np.uint8]"
"""A path, encoded bytes, a file opened in binary mode, a Pillow image, or an array: uint8 `[height, width]` of
greys, `[height, width, channels]` with one channel of greys, or those of RGB or RGBA, or `[n]` of encoded bytes."""

P = TypeVar("P", bound=Picture)

LOSSLESS_PIXELS = 2**20
"""A larger Pillow image is sent as JPEG, or as WebP if it may be transparent: as PNG, a photograph would exceed the
service's limit."""

WHITE_IS_ZERO = 262
"""The TIFF tag that is 0 then, PhotometricInterpretation."""

_PLAIN = {"PA": "RGBA", "RGBa": "RGBA", "La": "LA", "RGBX": "RGB", "HSV": "RGB"}
"""Modes that no format supports, and what to encode each as."""

LONGEST = {"JPEG": 65500, "WEBP": 16383}
"""Most pixels along each side that a format can hold."""

LARGE_PIXELS = 12 * 2**20
"""An even larger image is encoded at a lower quality: at 95, even a JPEG of 48 megapixels would exceed the limit."""


def load(picture: Picture, most_bytes: int = -1) -> bytes:
    """Return the encoded bytes of a picture.

    Args:
        picture: In any of the forms of `Picture`.
        most_bytes: How many bytes to read from a file; by default all.

    Raises:
        TypeError: The object is not a picture.
        OSError: The file cannot be read or is at its end, or the image cannot be encoded.
    """
    if _is_encoded(picture):
        return bytes(cast("bytes", picture))
    if isinstance(picture, str | os.PathLike):
        read = partial(_read, picture, most_bytes)
    elif hasattr(picture, "read"):
        read = partial(_read_on, cast("BinaryIO", picture), most_bytes)
    else:
        read = partial(_encode, _image(picture))
    try:
        data = read()
    except OSError:
        raise
    except Exception as error:  # Pillow raises almost anything on a damaged image, and a closed file a ValueError
        msg = f"expected a picture that can be read, found one of type {type(picture).__name__}: {error}"
        raise OSError(msg) from error
    if not isinstance(data, bytes):
        msg = f"expected a file opened in binary mode, found one that reads {type(data).__name__}"
        raise TypeError(msg)
    return data


def several(pictures: Iterable[P]) -> Iterable[P]:
    """Return pictures as they are.

    Raises:
        TypeError: They are one picture, whose characters, bytes, lines or rows would be taken for pictures.
    """
    _, shape = _layout(pictures)
    is_array = len(shape) == 2 or shape[2:] in {(1,), (3,), (4,)}  # noqa: PLR2004  axes, as of `Picture`
    if isinstance(pictures, str | os.PathLike) or _is_encoded(pictures) or is_array or hasattr(pictures, "read"):
        msg = f"expected several pictures, found one of type {type(pictures).__name__}. Put it into a list, or give it "
        raise TypeError(msg + "to predict.")
    return pictures


def name_of(picture: Picture) -> str:
    """Return the last part of a picture's path, or an empty string if it has none."""
    path = picture if isinstance(picture, str | os.PathLike) else getattr(picture, "name", "")
    return Path(path).name.encode(errors="replace").decode() if isinstance(path, str | os.PathLike) else ""


def _read(path: str | os.PathLike[str], most_bytes: int) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(most_bytes)


def _read_on(file: BinaryIO, most_bytes: int) -> bytes:
    """Read a file from its position; a pipe may give less than it is asked for.

    Raises:
        EOFError: Nothing follows.
    """
    data = piece = file.read(most_bytes)
    while isinstance(piece, bytes) and piece and len(data) < most_bytes:
        piece = file.read(most_bytes - len(data))
        data += piece
    if data == b"":
        is_at_end = hasattr(file, "seekable") and file.seekable() and file.tell()
        raise EOFError("nothing follows its position: go back with seek(0)" if is_at_end else "it is empty")
    return data


def _is_encoded(picture: object) -> bool:
    """Tell whether an object holds encoded bytes; an array as `cv2.imencode` returns it has one axis."""
    if isinstance(picture, memoryview):
        return picture.ndim == picture.itemsize == 1
    if hasattr(picture, "getexif"):  # a damaged image would raise almost anything
        return False
    kind, shape = _layout(picture)
    return isinstance(picture, bytes | bytearray) or (kind == "|u1" and len(shape) == 1)


def _layout(picture: object) -> tuple[str, tuple[int, ...]]:
    """Return the type and shape of an array's numbers, as of NumPy's array interface; nothing for another object."""
    array = getattr(picture, "__array_interface__", {"typestr": "", "shape": ()})
    return array["typestr"], array["shape"]


def _image(picture: object) -> Image:
    """Return an image as it is, and an array as an image.

    Raises:
        TypeError: The object is neither, or is an array of another type or shape.
    """
    if hasattr(picture, "getexif"):
        return cast("Image", picture)
    kind, shape = _layout(picture)
    match kind, shape:
        case "|u1", (_, _) | (_, _, 1 | 3 | 4):
            from PIL import Image  # noqa: PLC0415  for paths and bytes nobody needs Pillow

            array = cast("NDArray[np.uint8]", picture)
            return Image.fromarray(array[..., 0] if shape[2:] == (1,) else array)
    found = [type(picture).__name__, *(str(getattr(picture, name, "")) for name in ("dtype", "shape"))]
    msg = (
        "expected a path, bytes, a binary file, an image of Pillow, or an array of uint8 that is (height, width) or "
        f"(height, width, 1, 3 or 4), found {' '.join(filter(None, found))}."
    )
    if kind not in {"", "|u1"}:
        msg += " Scale the numbers to 0 to 255, and convert them to uint8."
    elif kind or isinstance(picture, list | tuple):
        msg += " Give many pictures to predict_many."
    raise TypeError(msg)


def _encode(image: Image) -> bytes:
    """Encode an image with its orientation tag, without loss unless it is large."""
    from PIL import ExifTags, Image  # noqa: PLC0415  whoever has an image has Pillow

    buffer, exif = io.BytesIO(), Image.Exif()
    image.load()  # before its tags are read: Pillow turns a TIFF upright then, and forgets the orientation tag
    is_negative = image.mode in {"I;16", "F"} and getattr(image, "tag_v2", {}).get(WHITE_IS_ZERO) == 0
    # No other tag or comment: one may say where somebody lives, and a scanner's may be too large for a JPEG.
    exif[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
    others = image.info.keys() - {"transparency", "icc_profile"}
    image = image.convert(_PLAIN[image.mode]) if image.mode in _PLAIN else image.copy()  # without its file's tags
    for name in others:
        del image.info[name]
    if image.mode == "I":  # of 8 bits, of 16 as from a PGM, or of more
        least, most = cast("tuple[int, int]", image.getextrema())
        image = image if least < 0 or most >= 2**16 else image.convert("I;16" if most >= 2**8 else "L")
    if is_negative:  # Pillow itself inverts it only at 8 bits
        image = image.point(lambda level: level * -1 + 65535)
    pixels = image.width * image.height
    is_large, quality = pixels > LOSSLESS_PIXELS, 95 if pixels <= LARGE_PIXELS else 85
    if is_large and image.mode == "CMYK":  # as the service does; a JPEG of four inks would be much larger
        image = image.convert("RGB")
    if is_large and image.mode in {"RGB", "L"} and "transparency" in image.info:  # of one colour, which JPEG lacks
        image = image.convert("RGBA")
    if is_large and image.mode in {"RGB", "L", "YCbCr"} and max(image.size) <= LONGEST["JPEG"]:
        image.save(buffer, "JPEG", quality=quality, exif=exif)
    elif is_large and image.mode in {"RGBA", "LA"} and max(image.size) <= LONGEST["WEBP"]:
        image.save(buffer, "WEBP", quality=quality, method=0, exif=exif)
    elif image.mode in {"CMYK", "YCbCr", "LAB", "F", "I"}:  # modes that PNG lacks
        image.save(buffer, "TIFF", exif=exif)
    else:
        image.save(buffer, "PNG", compress_level=1, exif=exif)
    return buffer.getvalue()
