"""Recognises by its first bytes what is often sent in place of a picture, and says what to do about it."""

from __future__ import annotations

import re

_KINDS: dict[str, tuple[tuple[bytes, ...], str]] = {
    "a PDF file": ((b"%pdf-",), "save the page as PNG first"),
    "a gzip file": ((b"\x1f\x8b",), "send it unpacked, without Content-Encoding"),
    "a ZIP file": ((b"pk\x03\x04",), "unpack it, and send its pictures to /predict/batch"),
    "an HTML page": ((b"<!doctype html", b"<html"), "perhaps the page of a failed download"),
    "a data URI": (
        (b"data:",),
        "send the bytes in it: in JavaScript `await (await fetch(uri)).blob()`",
    ),
    "an address": (
        (b"http://", b"https://"),
        "nothing is fetched from elsewhere: send the file itself",
    ),
    "a NumPy array": ((b"\x93numpy",), "send each image as PNG, or its 784 bytes alone"),
    "a file of the data set": ((b"\0\0\x08\x03",), "send each image as PNG, or its 784 bytes alone"),
    # The signatures of PNG, JPEG, GIF and WebP, encoded.
    "base64": ((b"ivborw0kggo", b"/9j/", b"r0lgod", b"uklgr"), "decode it first"),
}
"""How each kind may start, in lower case, and advice."""

_AVIF = "an AVIF file; save it as JPEG or PNG first"
_HEIC = "a HEIC file; save it as JPEG first: on an iPhone, Settings > Camera > Formats > Most Compatible"
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"}
_START_BYTES = 4096
# Possessive (`*+`), so that no text makes it backtrack over what precedes the first element.
_SVG = re.compile(rb"(?:\s|<\?.*?\?>|<!--.*?-->)*+<(?:svg|!doctype\s+svg)\b", re.DOTALL | re.IGNORECASE)


def foreign(data: bytes) -> str | None:
    """Return what bytes are in place of a picture, with advice, as `a PDF file; ...`; None if that is unknown."""
    start = data[:_START_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()
    if data[4:8] == b"ftyp":  # the first box: its length, its name, then the brands, of which a reader must know one
        length = min(int.from_bytes(data[:4], "big"), _START_BYTES)
        brands = {data[place : place + 4] for place in range(8, length, 4)}
        return _AVIF if brands & _AVIF_BRANDS else _HEIC if brands & _HEIC_BRANDS else None
    for kind, (starts, advice) in _KINDS.items():
        if start.lower().startswith(starts):
            return f"{kind}; {advice}"
    return "an SVG file; draw it to a PNG first" if _SVG.match(start) else None
