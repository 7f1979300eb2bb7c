"""What a running service keeps private: it writes no file while it serves, and reveals nothing of what was sent."""

from __future__ import annotations

import http.client
import io
import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest
from PIL import Image

from app.imaging.decode import FORMATS
from tests.app.test_main import service
from tests.bombs import filled, gif_head, huge_tile, png_head, png_of, progressive
from tests.conftest import encoded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "a-name-that-nobody-may-see"  # noqa: S105  no password
WATCHED = """
import os, sys
os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), 2)
MOVES = {"os.mkdir", "os.rename", "os.link", "os.symlink", "tempfile.mkstemp", "tempfile.mkdtemp", "shutil.copyfile"}
def watch(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        os.write(2, f"opened for writing: {arguments[0]}\\n".encode())
    elif event in MOVES:
        os.write(2, f"opened for writing: {event} {arguments}\\n".encode())
sys.addaudithook(watch)
from app.__main__ import main
sys.exit(main([]))
"""
TELLTALES = re.compile(
    r'Traceback|File "|\.py\b|/(?:usr|home|root|work|tmp|venv|site-packages)/|uvicorn|[Pp]ython|Pillow/'
)
"""What would give away a path, a version or a traceback in an answer."""
VERSION = re.compile(r"\b(?:uvicorn|starlette|fastapi|pillow|tensorflow|python|httptools)\b[ /]?\d", re.IGNORECASE)


def pictures() -> Iterator[tuple[str, bytes]]:
    """Yield files of all formats, good and bad, small and large."""
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    for kind in FORMATS:
        for image in (Image.fromarray(noise[:28, :28]), Image.fromarray(noise)):
            data = encoded(image, kind, **({"comment": SECRET} if kind in {"JPEG", "GIF"} else {}))
            yield f"{kind} {image.size}", data
            yield f"damaged {kind} {image.size}", data[: len(data) // 2] + SECRET.encode() + data[len(data) // 2 + 40 :]
            yield f"{kind} {image.size} of half its length", data[: len(data) // 2]
    exif = Image.Exif()
    exif[0x010E] = SECRET
    yield "EXIF", encoded(Image.fromarray(noise), "JPEG", exif=exif)
    yield "deflated TIFF", encoded(Image.fromarray(noise), "TIFF", compression="tiff_adobe_deflate")
    yield "damaged deflated TIFF", encoded(Image.fromarray(noise), "TIFF", compression="tiff_lzw")[:-9000]
    yield "text", SECRET.encode() * 1000
    yield "nothing", b""
    yield "too large", bytes(11 * 2**20)
    yield "huge header", png_head(2**31 - 1, 2**31 - 1)
    yield "many chunks", png_of(b"\0\0\0\0teSt\0\0\0\0")
    yield "comment in crumbs", filled(b"\1a", gif_head() + b"!\xfe", b"\0;")
    yield "huge tile", huge_tile(32_768, 8)
    yield "many scans", progressive(300, 101)


class Asked:
    """The answers of a service to all requests, and what it wrote to standard error meanwhile."""

    def __init__(self, answers: list[httpx2.Response], raw: list[bytes], log: str) -> None:
        self.answers, self.raw, self.log = answers, raw, log


def ask_everything(url: str) -> tuple[list[httpx2.Response], list[bytes]]:
    answers: list[httpx2.Response] = []
    with httpx2.Client(base_url=url, timeout=60) as client:
        for _, data in pictures():
            answers.append(client.post("/predict", content=data, headers={"Content-Type": "image/png"}))
            answers.append(client.post("/predict?preview=true", files={"file": (SECRET, data, "image/png")}))
        several = [("files", (SECRET, data)) for name, data in pictures() if "too large" not in name]
        answers.append(client.post("/predict/batch", files=several[:40]))
        answers.append(client.post("/predict", files={"file": (SECRET, bytes(3 * 2**20)), SECRET: b"other"}))
        answers.append(client.post("/predict?conversion=magic", content=b"x"))
        answers.append(
            client.post(
                "/predict",
                content=b"--b\r\n" + SECRET.encode(),
                headers={"Content-Type": "multipart/form-data; boundary=b"},
            )
        )
        answers += [
            client.get(path, headers={"Accept": "text/html"}) for path in ("/", "/model", "/docs", "/web/page.js")
        ]
        answers += [
            client.get(path)
            for path in ("/classes", "/model", "/openapi.json", "/nowhere", "/predict", "/health/ready")
        ]
        answers += [client.get("/web/../../app/main.py"), client.get("/web/%2e%2e/main.py"), client.get("/web/nothing")]
    address = urlsplit(url)
    raw: list[bytes] = []
    for sent in (
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection((address.hostname or "", address.port or 0), 60) as connection:
            connection.sendall(sent)
            raw.append(connection.makefile("rb").read())
    return answers, raw


@pytest.fixture(scope="module")
def asked(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    log = tmp_path_factory.mktemp("log") / "log"
    command = ("-c", WATCHED, str(log))
    with service(command, MODEL_DIR=artifact, LOG_LEVEL="debug", LOG_FORMAT="json") as (_, url):
        answers, raw = ask_everything(url)
    return Asked(answers, raw, log.read_text())


def test_nothing_is_opened_for_writing_once_it_serves(asked: Asked) -> None:
    _, _, serving = asked.log.partition('"path":"/health/ready"')
    assert serving.count('"path":"/predict"') > 80
    written = {line for line in serving.splitlines() if line.startswith("opened for writing")}
    assert {line for line in written if line != "opened for writing: /dev/null"} == set()


def test_the_log_has_neither_bytes_nor_names_of_what_was_sent(asked: Asked) -> None:
    assert SECRET not in asked.log
    assert not re.search(r"\\x[0-9a-f]{2}.*\\x[0-9a-f]{2}", asked.log)
    assert "array(" not in asked.log


def test_no_answer_is_a_failure_of_the_service(asked: Asked) -> None:
    assert {answer.status_code for answer in asked.answers} == {200, 404, 405, 413, 415, 422}
    assert "Traceback" not in asked.log


def test_no_problem_reveals_a_path_a_version_or_a_traceback(asked: Asked) -> None:
    for answer in asked.answers:
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert not TELLTALES.search(answer.json()["detail"].replace(answer.request.url.path, ""))
            assert not VERSION.search(answer.text)
            assert SECRET not in answer.text or "fields" in answer.text
        assert "server" not in answer.headers


OF_EVERY_ANSWER = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def test_every_answer_has_the_security_headers(asked: Asked) -> None:
    for answer in asked.answers:
        assert {name: answer.headers.get(name) for name in OF_EVERY_ANSWER} == OF_EVERY_ANSWER
        predicted = answer.request.url.path.startswith("/predict")
        assert answer.headers.get("cache-control") == "no-store" or not (predicted or answer.status_code >= 400)
    for raw in asked.raw:
        with io.BytesIO(raw) as stream:
            stream.readline()
            headers = http.client.parse_headers(stream)
        assert {name: headers.get(name) for name in OF_EVERY_ANSWER} == OF_EVERY_ANSWER
