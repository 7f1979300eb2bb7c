"""The API keys that callers may use, read from a file that holds only their hashes."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING

from app.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LINE = re.compile(r"([0-9a-fA-F]{64})(?:\s+(\S.*))?")


def new_key() -> str:
    """Return a key of 32 random bytes as text."""
    return secrets.token_urlsafe(32)


def digest(key: str | bytes) -> str:
    """Hash a key for the file.

    SHA-256 is enough: a slow hash protects keys that people choose, but 256 random bits cannot be guessed anyway.
    """
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).hexdigest()


class Keys:
    """The keys of a file: a hash and a name per line, besides empty lines and comments that begin with `#`."""

    def __init__(self, lines: Iterable[str], source: object = "keys") -> None:
        """Parse the lines.

        Raises:
            StartError: A line is malformed, or there is no key at all.
        """
        self._names: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            if not (text := line.strip()) or text.startswith("#"):
                continue
            match = _LINE.fullmatch(text)
            if match is None:  # the line is not shown: it may hold the key itself
                msg = f"{source}, line {number}: expected the SHA-256 of a key in 64 hexadecimal digits and a name, "
                raise StartError(msg + "found something else; `python -m app key` makes a line")
            self._names[match[1].lower()] = match[2] or f"line {number}"
        if not self._names:
            msg = f"{source}: expected the hash of a key, found none; `python -m app key` makes a line"
            raise StartError(msg)

    def owner(self, key: bytes) -> str | None:
        """Return the name of a key, or None if it is unknown, in a time that does not depend on its bytes."""
        sent, owner = digest(key), None
        for known, name in self._names.items():
            if hmac.compare_digest(sent, known):
                owner = name
        return owner


def read_keys(path: Path) -> Keys:
    """Read the keys of a file.

    Raises:
        StartError: The file cannot be read, or holds something other than keys.
    """
    try:
        return Keys(path.read_text(encoding="utf-8-sig").splitlines(), path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        msg = f"FASHION_API_KEYS_FILE: expected a file of keys, found {path}: {reason}"
        raise StartError(msg) from error
