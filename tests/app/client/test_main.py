"""The command `python -m app.client`."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from starlette.responses import JSONResponse

from app.client.__main__ import main
from app.client.exchange import URL_VARIABLE
from app.main import create_app
from app.schemas import Limits
from app.settings import Settings
from tests.conftest import encoded, interruptible, listening
from tests.fakes import FirstPixelClassifier, tagged_image
from training.data import LABELS

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Receive, Scope, Send


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with ten pictures, one of each class, and a text file."""
    (tmp_path / "below").mkdir()
    for class_id in range(10):
        part = tmp_path if class_id < 5 else tmp_path / "below"
        (part / f"{class_id}.{'PNG' if class_id % 2 else 'png'}").write_bytes(encoded(tagged_image(class_id)))
    (tmp_path / "notes.txt").write_text("a boot")
    return tmp_path


def test_a_folder_is_listed_with_every_picture_below_it(
    folder: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), "--url", url, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["label"] for row in rows] == list(LABELS)
    assert rows[9]["filename"] == str(folder / "below" / "9.PNG")


def test_the_environment_says_where_the_service_is(
    folder: Path, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL_VARIABLE, url)
    assert main([str(folder / "1.PNG")]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["PICTURE", "LABEL", "PROBABILITY", "FAMILIAR", "PREDICTION", "SET"]
    name, *told = row.split()
    assert name.endswith("/1.PNG")
    assert told == ["Trouser", "91.0%", "yes", "Trouser,", "Pullover"]


def test_the_conversion_is_passed_on(folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(folder / "0.png"), "--url", url, "--json", "--conversion", "none"])
    assert json.loads(capsys.readouterr().out)["result"]["conversion"]["mode"] == "none"


def test_it_exits_with_1_if_one_picture_gets_no_answer(
    folder: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("0.png", "notes.txt", "gone.png", "1.PNG")
    assert main([*(str(folder / name) for name in names), "--url", url]) == 1
    _, *rows = capsys.readouterr().out.splitlines()
    assert [f"/{name} " in row for row, name in zip(rows, names, strict=True)] == [True] * 4
    assert "unsupported_media_type: Expected an image as PNG," in rows[1]
    assert "unreadable: No such file" in rows[2]


def test_it_exits_with_1_and_one_line_where_there_is_no_service(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), "--url", "http://127.0.0.1:1"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("python -m app.client: Expected the Fashion-MNIST service at http://127.0.0.1:1,")


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
def test_it_exits_with_1_and_one_line_for_an_impossible_host_name(
    host: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), "--url", f"http://{host}"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"python -m app.client: Expected the Fashion-MNIST service at http://{host}, received no")


def test_it_exits_with_1_if_the_service_itself_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = create_app(Settings(), FirstPixelClassifier())
    del app.state.settings  # so that `GET /model` fails
    with listening(app) as url:
        assert main([str(folder), "--url", url]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("python -m app.client: The service failed on this")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["boot.png", "--xml"],
        ["boot.png", "--json", "--csv"],
        ["boot.png", "--url", "http://a:b"],
        ["boot.png", "--url", "localhost:8137"],
        ["boot.png", "--url", "http://localhost:8137/predict"],
        ["EMPTY"],
    ],
    ids=["no picture", "unknown format", "two formats", "no address", "no scheme", "a call", "empty folder"],
)
def test_wrong_arguments_exit_with_2_and_print_the_usage(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path) if argument == "EMPTY" else argument for argument in arguments])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m app.client")


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        (URL_VARIABLE, "http://a:b", "found http://a:b: Invalid port"),
        (URL_VARIABLE, "http://xn--a", "found http://xn--a: Codepoint"),
        ("SSL_CERT_FILE", "/gone.pem", "a readable file of certificates in SSL_CERT_FILE, found"),
        ("ALL_PROXY", "socks5://127.0.0.1:1", "proxies that httpx can use in HTTP_PROXY, HTTPS_PROXY and ALL_PROXY"),
    ],
)
def test_the_error_says_what_is_wrong_in_the_environment(
    variable: str, value: str, named: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL_VARIABLE, "https://garments.example")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as caught:
        main(["boot.png"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert named in error
    assert "--api-key or" not in error


def run(*arguments: str, url: str, sent: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "app.client", *arguments],
        env=os.environ | {URL_VARIABLE: url},
        capture_output=True,
        timeout=60,
        input=sent,
        check=False,
    )


def test_a_dash_is_standard_input(url: str) -> None:
    done = run("-", "--json", url=url, sent=encoded(tagged_image(8)))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["filename"] == "-"
    assert json.loads(done.stdout)["result"]["prediction"]["label"] == "Bag"


def test_a_file_name_that_is_not_utf_8_is_printed_unchanged(url: str, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/b\xf6t.png"  # not UTF-8
    with open(name, "wb") as file:  # noqa: PTH123  a Path takes no bytes
        file.write(encoded(tagged_image(8)))
    done = run(str(tmp_path), "--csv", url=url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith(name + b",Bag,")


def test_a_reader_may_close_the_pipe_early(folder: Path, url: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "app.client", "--json", *[str(folder)] * 50],
        env=os.environ | {URL_VARIABLE: url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


def test_ctrl_c_does_not_wait_for_an_answer(folder: Path) -> None:
    is_asked = threading.Event()

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] == "GET":
            limits = {name: getattr(Settings(), name) for name in Limits.model_fields if name != "formats"}
            await JSONResponse({"limits": limits | {"formats": []}})(scope, receive, send)
            return
        is_asked.set()
        while (await receive())["type"] != "http.disconnect":
            pass

    with (
        listening(hang) as url,
        subprocess.Popen(
            interruptible("app.client", str(folder)),
            env=os.environ | {URL_VARIABLE: url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process,
    ):
        assert is_asked.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == (b"", b"")
        assert process.returncode == 130
