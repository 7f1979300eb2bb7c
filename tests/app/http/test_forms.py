from __future__ import annotations

import gc
import time
import timeit
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from app.errors import InvalidRequestError
from app.http.forms import MAX_OPTIONS, MAX_OTHER_FIELDS, Form, Upload

if TYPE_CHECKING:
    from collections.abc import Callable

TYPE = "multipart/form-data; boundary=frontier"


def part(disposition: str, data: bytes = b"data", more: str = "") -> bytes:
    return f"--frontier\r\nContent-Disposition: form-data; {disposition}\r\n{more}\r\n".encode() + data + b"\r\n"


def read(body: bytes, piece: int = 2**16, max_files: int = 2, content_type: str = TYPE) -> list[Upload]:
    """Read the field `file` of a body that comes in pieces of that many bytes."""
    form = Form(content_type, "file", max_files)
    for start in range(0, len(body), piece):
        form.write(body[start : start + piece])
    return form.uploads()


def seconds(body: bytes, content_type: str = TYPE) -> float:
    """Return the time that it takes this thread to read a body or to refuse it, the least of three."""

    def attempt() -> None:
        with suppress(InvalidRequestError):
            read(body, max_files=64, content_type=content_type)

    return min(timeit.repeat(attempt, timer=time.thread_time, number=1, repeat=3))


END = b"--frontier--\r\n"
BINARY = bytes(range(256)) + b"\r\n--frontie\r\n--\r\r\n"


@pytest.mark.parametrize("piece", [1, 2, 7, 50, 2**16])
def test_files_arrive_whole_and_in_order_in_pieces_of_any_size(piece: int) -> None:
    body = part('name="file"; filename="a.png"', BINARY, "Content-Type: image/PNG; name=a.png\r\n")
    body += part('name="other"') + part('filename="c"; name="file"', b"") + END
    assert read(body, piece, max_files=3) == [Upload(BINARY, "image/png", "a.png"), Upload(b"", "", "c")]


@pytest.mark.parametrize(
    ("head", "filename"),
    [
        ('filename="été.png"', "été.png"),
        ('filename=""', ""),
        (r'filename="say \"cheese\".png"', 'say "cheese".png'),
        (r'filename="C:\\photos\\a.png"', "a.png"),
        ("filename=bare.png", "bare.png"),
    ],
)
def test_filenames_are_read_as_browsers_write_them(head: str, filename: str) -> None:
    (upload,) = read(part(f'name="file"; {head}') + END)
    assert upload.filename == filename


def test_a_filename_that_is_not_utf_8_is_latin_1() -> None:
    (upload,) = read(part('name="file"; filename="?"').replace(b"?", b"\xe9") + END)
    assert upload.filename == "é"


def test_a_line_break_before_the_parts_and_an_epilogue_are_ignored() -> None:
    assert len(read(b"\r\n" + part('name="file"; filename="a"') + END + b"epilogue")) == 1


@pytest.mark.parametrize("piece", [1, 2**16])
def test_text_before_the_parts_is_refused_in_pieces_of_any_size(piece: int) -> None:
    with pytest.raises(InvalidRequestError, match="Invalid multipart data"):
        read(b"\r\nprologue\r\n" + part('name="file"; filename="a"') + END, piece)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "It ends before its last boundary"),
        (part('name="file"; filename="a"'), "It ends before its last boundary"),
        (part('name="file"; filename="a"')[:-10], "It ends before its last boundary"),
        (b"--other\r\n", "Invalid multipart data"),
        (b"--frontier\r\nno colon\r\n\r\n" + END, "Invalid multipart data"),
        (b"--frontier\r\n: nameless\r\n\r\n" + END, "Invalid multipart data"),
        (b"--frontier\r\nX: " + bytes(20_000), "Invalid multipart data"),
        (b"--frontier\r\n" + b"X: y\r\n" * 100, "Invalid multipart data"),
        (part("nothing"), '"name" must be provided'),
        (b"--frontier\r\n\r\n", '"name" must be provided'),
        (part('name="file"; filename="a"') * 3 + END, "^Expected at most 2 files, received more. Send the others"),
        (part('name="other"; filename="a"') * 3 + END, "^Expected at most 2 files, received more. Send the others"),
        (part('name="file"; filename="a"') + part('name="conversion"') + END, r"`conversion` in the query"),
        (part('name="x"') * 5000, "Maximum number of fields is 16"),
        (b"--frontier\r\n" + b"x" * 20_000, "Invalid multipart data"),
        (b"--frontier" + b"x" * 20_000, "Invalid multipart data"),
        (part('name="x"', part('name="file"; filename="a"').replace(b"frontier", b"inner")) * 17, "fields is 16"),
        (part('name="x"') * (MAX_OTHER_FIELDS + 1) + END, "Maximum number of fields is 16"),
    ],
)
def test_a_malformed_body_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        read(body)


def test_a_refusal_does_not_repeat_long_field_names() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read(part(f'name="{"x" * 4000}"') * 16 + END)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "bomb",
    [b" " * 2**20, b"\r\n--frontierX" * 2**16, b"\r\n--frontier-X" * 2**16, b"\r\n--front" * 2**16, b"\r" * 2**20],
    ids=["padding", "boundaries that are none", "ends that are none", "halves of boundaries", "line ends"],
)
def test_a_body_crafted_to_be_slow_to_search_takes_linear_time(bomb: bytes) -> None:
    body = part('name="file"; filename="a"', b"x\r\n--frontier" + bomb)
    whole, part_of_it = (seconds(body[: len(body) // share] + END) for share in (1, 8))
    assert whole < 5 * 8 * max(part_of_it, 0.002)  # eight times the bytes, and a factor of five for chance


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_a_body_without_a_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidRequestError, match="Missing boundary"):
        read(END, content_type=content_type)


def test_an_overlong_boundary_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="Invalid multipart data"):
        read(END, content_type=TYPE + "x" * 1000)


def test_a_filename_may_have_some_semicolons_but_no_header_thousands() -> None:
    (upload,) = read(part(f'name="file"; filename="{";" * 20}"') + END)
    assert upload.filename == ";" * 20
    for options, content_type in ((";" * 4000, TYPE), ("", TYPE + ";" * 4000)):
        body = part(f'name="file"; filename="{options}"') * 64 + END
        with pytest.raises(InvalidRequestError, match="Invalid multipart data"):
            read(body, max_files=64, content_type=content_type)
        assert seconds(body, content_type) < 0.001


@pytest.mark.parametrize(
    ("headers", "most"),
    [
        (lambda count: b"X: 1\r\n" * (count - 1), 8),
        (lambda length: b"X: " + b"x" * length + b"\r\n", 4000),
    ],
    ids=["headers", "bytes of a header"],
)
def test_a_part_has_limited_headers(headers: Callable[[int], bytes], most: int) -> None:
    body = b'--frontier\r\n%sContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n.\r\n' + END
    assert len(read(body % headers(most))) == 1
    with pytest.raises(InvalidRequestError, match="Invalid multipart data"):
        read(body % headers(most + most // 8))


@pytest.mark.parametrize("count", [MAX_OPTIONS, MAX_OPTIONS + 1])
def test_a_header_has_limited_options(count: int) -> None:
    body = part(f'name="file"; filename="{";" * (count - 2)}"') + END
    if count == MAX_OPTIONS:
        assert len(read(body)) == 1
    else:
        with pytest.raises(InvalidRequestError, match="Invalid multipart data"):
            read(body)


def test_as_many_other_fields_as_are_allowed_may_accompany_the_file() -> None:
    assert len(read(part('name="x"') * MAX_OTHER_FIELDS + part('name="file"; filename="a"') + END)) == 1


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (part('name="picture"; filename="a"') + part('name="x"') * 2 + END, "`picture`, `x`"),
        (END, "none"),
    ],
)
def test_a_body_without_the_file_is_refused_naming_the_fields_it_has(body: bytes, fields: str) -> None:
    with pytest.raises(
        InvalidRequestError, match=f"Expected a file in the field `file`, received the fields: {fields}"
    ):
        read(body)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ('name="picture"; filename="b"', "in the field `file` alone, received one in `picture`"),
        ('name="file"', "in the field `file`, received one without a filename. Send `file` with a filename each"),
    ],
)
def test_a_form_with_a_part_that_would_get_no_answer_is_refused(other: str, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        read(part('name="file"; filename="a"') + part(other) + part('name="file"; filename="c"') + END, max_files=3)


def test_a_form_whose_only_part_has_no_filename_is_refused_for_that() -> None:
    with pytest.raises(InvalidRequestError, match=r"Send `file` with a filename, as `curl -F file=@photo\.jpg` does"):
        read(part('name="file"', b"text") + END, max_files=1)


def test_a_form_that_was_read_is_freed_without_the_garbage_collector() -> None:
    form = Form("multipart/form-data; boundary=b", "file", max_files=1)
    form.write(b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\npixels\r\n--b--\r\n')
    freed = weakref.ref(form)
    form.close()
    (upload,) = form.uploads()
    gc.disable()
    try:
        del form
        assert freed() is None
    finally:
        gc.enable()
    assert upload.data == b"pixels"
