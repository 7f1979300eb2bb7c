from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequestError
from app.http.forms import Form, Upload
from app.settings import Settings
from app.telemetry.logs import configure_logging

BOUNDARY = "frontier"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"
MAX_FILES = 3

# Tokens of the form grammar, so that random examples reach its corner cases.
TOKENS = st.sampled_from(
    [
        b"--frontier\r\n",
        b"--frontier--",
        b"--frontier",
        b"\r\n",
        b"\r",
        b"\n",
        b"--",
        b"-",
        b": ",
        b";",
        b'"',
        b"\\",
        b'Content-Disposition: form-data; name="file"; filename="a"\r\n',
        b'Content-Disposition: form-data; name="other"\r\n',
        b"Content-Disposition: form-data; name=file; filename*=utf-8''%e2%82\r\n",
        b"Content-Type: image/png\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
    ]
)
PARTS = st.builds(
    lambda name, filename, data: (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'.encode() + data + b"\r\n"
    ),
    st.sampled_from(["file", "other"]),
    st.sampled_from(["", '; filename="a.png"', '; filename=""']),
    st.binary(max_size=30) | st.lists(TOKENS, max_size=3).map(b"".join),
)
WHOLE = st.lists(PARTS, max_size=4).map(lambda parts: b"".join(parts) + f"--{BOUNDARY}--\r\n".encode())
BODIES = st.one_of(
    WHOLE,
    st.binary(max_size=200),
    st.lists(st.one_of(TOKENS, PARTS, st.binary(max_size=10)), max_size=12).map(b"".join),
)


LATIN_1 = st.text(st.characters(max_codepoint=255), max_size=80)  # how the bytes of a header are decoded


def read(pieces: list[bytes], content_type: str = TYPE) -> list[Upload] | str:
    """Return the files of a body that arrives in pieces, or why it is refused; any other error is raised."""
    try:
        form = Form(content_type, "file", MAX_FILES)
        for piece in pieces:
            form.write(piece)
        return form.uploads()
    except InvalidRequestError as error:
        return error.detail


@given(body=BODIES, cuts=st.lists(st.integers(0, 300), max_size=8))
def test_a_body_is_parsed_the_same_however_it_is_split(body: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    assert read([body[start:end] for start, end in pairwise(places)]) == read([body])


@given(body=BODIES)
def test_a_body_is_parsed_the_same_byte_by_byte(body: bytes) -> None:
    assert read([body[place : place + 1] for place in range(len(body))]) == read([body])


@given(
    content_type=st.builds("".join, st.lists(st.sampled_from(["multipart/form-data", ";", "boundary=", '"']) | LATIN_1))
)
def test_a_form_without_files_is_refused_whatever_its_content_type(content_type: str) -> None:
    assert "received" in read([b"--frontier--\r\n"], content_type)


@given(files=st.lists(st.binary(max_size=100), min_size=1, max_size=MAX_FILES))
def test_files_arrive_as_they_were_sent(files: list[bytes]) -> None:
    boundary = max((b"-" * 20, *files), key=len).hex()[:60] + "edge"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'.encode() + data + b"\r\n"
        for data in files
    ]
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    assert read([body], f"multipart/form-data; boundary={boundary}") == [Upload(data, "", "a") for data in files]


@pytest.mark.usefixtures("restored_logging")
def test_nothing_of_a_malformed_form_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_level="debug"))
    assert "Invalid multipart data" in read([b"--secret"])
    assert capsys.readouterr().err == ""
