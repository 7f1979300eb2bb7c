"""Extracts the files of one field from a multipart body while it arrives."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NoReturn

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import InvalidRequestError
from app.http.headers import media_type

# Its warnings repeat what the refusal of a malformed form says, and quote bytes of the body.
logging.getLogger("python_multipart").setLevel(logging.ERROR)

MULTIPART = "multipart/form-data"
SHOWN_NAME = 40
"""Most characters of a field's name that a message repeats."""
IN_QUERY = frozenset({"conversion", "preview"})
"""Options of `app.dependencies.Wishes`; refused in a form, where they would be silently ignored."""
INVALID = "Invalid multipart data. Let an HTTP library or `curl -F` write it."
MAX_OPTIONS = 32
"""Most `;` in a header, whose parsing time grows with their square; a file name may contain some too."""
MAX_OTHER_FIELDS = 16
"""Most fields besides the files: a request with more is meant for another service."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One picture as sent; `media_type` and `filename` are what the sender claims."""

    data: bytes
    media_type: str
    filename: str | None = None


class Form:
    """Parses a body piece by piece and keeps the files of one field in memory; other parts are only counted.

    Starlette's own parser writes each piece to a temporary file and awaits the write.
    """

    def __init__(self, content_type: str, field: str, max_files: int) -> None:
        """Take the header that holds the boundary, the field of the files, and the most files to accept.

        Raises:
            InvalidRequestError: The boundary is missing or invalid.
        """
        self._field = field
        self._max_files = max_files
        self._most_files = "one file" if max_files == 1 else f"at most {max_files} files"
        self._fields: list[str] = []
        self._files = 0
        self._elsewhere: list[str] = []
        self._nameless = False
        each, files = ("", ["photo"]) if max_files == 1 else (" each", ["a", "b"])
        curl = " ".join(f"-F {field}=@{name}.jpg" for name in files)
        self._named = f" Send `{field}` with a filename{each}, as `curl {curl}` does."
        self._uploads: list[Upload] = []
        self._headers: dict[bytes, bytes] = {}
        self._header_name = self._header_value = b""
        self._name = ""
        self._filename: str | None = None
        self._pieces: list[bytes] = []
        self._begun = self._ended = False
        boundary = self._options_of(content_type.encode("latin-1")).get(b"boundary")
        if not boundary:
            self._refuse("Missing boundary. Let your HTTP library write the Content-Type of a form.")
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._take_header_name,
                    "on_header_value": self._take_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._take_data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            self._refuse(INVALID)

    def write(self, chunk: bytes) -> None:
        """Parse the next piece of the body.

        Raises:
            InvalidRequestError: It is malformed, or there are too many files or fields.
        """
        if not self._begun:  # the parser skips text after a leading line break, but only in one chunk
            chunk = chunk.lstrip(b"\r\n")
            self._begun = bool(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError:
            self._refuse(INVALID)

    def close(self) -> None:
        """Drop the parser: its callbacks are our methods, and such a cycle would wait for the garbage collector."""
        del self._parser

    def uploads(self) -> list[Upload]:
        """Return the files in order, once the body is complete.

        Raises:
            InvalidRequestError: There is no file, one is in another field or has no filename, an option of the query is
                in the form, or the body is incomplete.
        """
        if not self._ended:
            self._refuse("It ends before its last boundary. Send all of it.")
        # A picture that is not an upload would have no answer, and the answers to those after it would move up.
        if self._nameless:
            msg = f"Expected files in the field `{self._field}`, received one without a filename.{self._named}"
            raise InvalidRequestError(msg)
        if not self._uploads:
            fields = ", ".join(f"`{name[:SHOWN_NAME]}`" for name in dict.fromkeys(self._fields)) or "none"
            msg = f"Expected a file in the field `{self._field}`, received the fields: {fields}."
            raise InvalidRequestError(msg + self._named)
        if self._elsewhere:
            other = self._elsewhere[0][:SHOWN_NAME]
            msg = f"Expected files in the field `{self._field}` alone, received one in `{other}`."
            raise InvalidRequestError(msg)
        if misplaced := next((name for name in self._fields if name in IN_QUERY), None):
            msg = f"Expected `{misplaced}` in the query, as `?{misplaced}=...`, received it as a field of the form."
            raise InvalidRequestError(msg)
        return self._uploads

    def _begin_part(self) -> None:
        self._headers, self._pieces = {}, []

    def _take_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _take_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _end_headers(self) -> None:
        options = self._options_of(self._headers.get(b"content-disposition", b""))
        if b"name" not in options:
            self._refuse('The Content-Disposition header field "name" must be provided.')
        self._name = _text(options[b"name"])
        self._filename = _text(options[b"filename"]) if b"filename" in options else None
        if self._filename is None:
            if len(self._fields) - self._files >= MAX_OTHER_FIELDS:
                self._refuse(f"Too many fields. Maximum number of fields is {MAX_OTHER_FIELDS}.")
        else:
            self._files += 1
            if self._files > self._max_files:
                advice = "several to /predict/batch" if self._max_files == 1 else "the others in another request"
                msg = f"Expected {self._most_files}, received more. Send {advice}."
                raise InvalidRequestError(msg)

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == self._field and self._filename is not None:
            self._pieces.append(data[start:end])

    def _end_part(self) -> None:
        self._fields.append(self._name)
        if self._filename is None:
            self._nameless |= self._name == self._field
        elif self._name != self._field:
            self._elsewhere.append(self._name)
        else:
            kind = media_type(self._headers.get(b"content-type", b"").decode("latin-1"))
            self._uploads.append(Upload(b"".join(self._pieces), kind, self._filename))

    def _end(self) -> None:
        self._ended = True

    def _options_of(self, value: bytes) -> dict[bytes, bytes]:
        if value.count(b";") > MAX_OPTIONS:
            self._refuse(INVALID)
        return parse_options_header(value)[1]

    def _refuse(self, reason: str) -> NoReturn:
        msg = f"Expected a {MULTIPART} body of {self._most_files}, received a malformed one: {reason}"
        raise InvalidRequestError(msg)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")
