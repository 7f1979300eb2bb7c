from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient

from app.client import FashionClient, UnauthorizedError
from app.client.__main__ import main as client_command
from app.client.exchange import KEY_VARIABLE, key_headers
from app.errors import StartError
from app.http.keys import Keys, digest, new_key, read_keys
from app.main import create_app
from app.settings import Settings
from app.telemetry.logs import configure_logging
from tests.app.http.test_protocol import read_all, serving
from tests.app.test_main import start_in_vain
from tests.app.test_routes import BOOT, problem
from tests.conftest import listening
from tests.fakes import FirstPixelClassifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "a key of a test, longer than most"
ELSEWHERE = "https://shop.example"


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# who may call\n\n{digest(KEY)} the shop\n{digest('another')}\n")
    return path


@pytest.fixture
def guarded(keys_file: Path) -> Iterator[TestClient]:
    settings = Settings(api_keys_file=keys_file, cors_origins=f"{ELSEWHERE}, http://localhost:3000")
    with TestClient(create_app(settings, FirstPixelClassifier())) as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer  {KEY}"},
        {"X-API-Key": KEY},
        {"X-API-Key": "another"},
        {"Authorization": "Bearer of-a-gateway", "X-API-Key": KEY},
        {"X-API-Key": "wrong", "Authorization": f"Bearer {KEY}"},
    ],
)
def test_whoever_has_a_key_is_let_in(guarded: TestClient, headers: dict[str, str]) -> None:
    assert guarded.post("/predict", content=BOOT, headers=headers).json()["prediction"]["label"] == "Ankle boot"
    assert guarded.post("/predict/batch", files={"files": BOOT}, headers=headers).status_code == 200
    assert guarded.get("/classes", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "wrong"},
        {"X-API-Key": digest(KEY)},
        {"X-API-Key": f"Bearer {KEY}"},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong", "X-API-Key": "wrong too"},
    ],
)
def test_whoever_has_none_is_told_how_to_send_one(guarded: TestClient, headers: dict[str, str]) -> None:
    refused = guarded.post("/predict", content=BOOT, headers=headers)
    assert problem(refused) == (401, "unauthorized")
    assert refused.headers["www-authenticate"].startswith("Bearer ")
    assert refused.headers["x-request-id"]
    assert "X-API-Key" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/predict/batch"), ("GET", "/classes"), ("GET", "/metrics"), ("GET", "/nowhere")]
)
def test_all_other_paths_need_a_key_too(guarded: TestClient, method: str, path: str) -> None:
    assert problem(guarded.request(method, path)) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("headers", "received"),
    [
        ({}, "none"),
        ({"X-API-Key": ""}, "none"),
        ({"Authorization": f"Basic {KEY}"}, "an `Authorization` that is not `Bearer`"),
        ({"Authorization": KEY}, "an `Authorization` that is not `Bearer`"),
        ({"X-API-Key": "wrong"}, "one that is not known"),
        ({"Authorization": "Bearer wrong"}, "one that is not known"),
    ],
)
def test_a_missing_key_is_distinguished_from_a_wrong_one(
    guarded: TestClient, headers: dict[str, str], received: str
) -> None:
    assert f", received {received}. Ask whoever" in guarded.get("/classes", headers=headers).json()["detail"]


def test_the_command_says_how_to_pass_it_a_key(
    keys_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    (tmp_path / "boot.png").write_bytes(BOOT)
    with listening(create_app(Settings(api_keys_file=keys_file), FirstPixelClassifier())) as url:
        assert client_command([str(tmp_path / "boot.png"), "--url", url]) == 1
    assert capsys.readouterr().err.endswith(" Pass it by --api-key or FASHION_API_KEY.\n")


def test_a_key_is_required_before_the_body_is_read(guarded: TestClient) -> None:
    assert problem(guarded.post("/predict", content=bytes(30 * 2**20)))[0] == 401


@pytest.mark.parametrize(
    "path",
    [
        *("/health/live", "/health/ready", "/", "/web/page.js", "/docs", "/openapi.json", "/model"),
        "/static-offline-docs/swagger-ui-bundle.js",
    ],
)
def test_probes_and_public_pages_need_no_key(guarded: TestClient, path: str) -> None:
    assert guarded.get(path).status_code == 200


def test_no_guarded_path_is_reached_through_a_public_one(guarded: TestClient) -> None:
    for path in ("/web/../classes", "/web/%2e%2e/classes", "/health/%2e%2e/metrics", "/web/..%2fclasses"):
        assert guarded.get(path).status_code in {401, 404}


@pytest.mark.usefixtures("restored_logging")
def test_the_log_names_the_key_and_never_shows_it(guarded: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="json", log_level="debug"))
    guarded.post("/predict", content=BOOT, headers={"X-API-Key": KEY})
    guarded.post("/predict", content=BOOT, headers={"X-API-Key": "wrong guess"})
    logged = capsys.readouterr().err
    assert '"key":"the shop"' in logged
    assert KEY not in logged
    assert digest(KEY) not in logged
    assert "wrong guess" not in logged


@pytest.mark.usefixtures("restored_logging")
def test_the_log_names_no_key_for_later_requests_on_the_same_connection(
    keys_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(Settings(log_format="json"))
    asked = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX-Request-ID: %s\r\n%s\r\n"
    with_key, without = asked % (b"first", b"X-API-Key: another\r\n"), asked % (b"second", b"")
    foreign = asked % (b"third", b"Sec-Fetch-Site: cross-site\r\nConnection: close\r\n")
    with serving(api_keys_file=keys_file) as service, service.connect(with_key) as connection:
        for request in (without, foreign):
            assert connection.recv(65536)
            connection.sendall(request)
        read_all(connection)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if '"request_id"' in line]
    assert [(line["request_id"], line["status"], "key" in line) for line in lines] == [
        ("first", 422, True),
        ("second", 401, False),
        ("third", 403, False),
    ]


def test_the_api_document_says_which_calls_need_a_key_and_how_it_is_sent(guarded: TestClient) -> None:
    document = guarded.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert document["components"]["securitySchemes"]["key"]["name"] == "X-API-Key"
    for path, operations in document["paths"].items():
        for operation in operations.values():
            is_open = path.startswith("/health/") or path == "/model"
            assert ("security" in operation) == ("401" in operation["responses"]) == (not is_open)
            assert is_open or {"WWW-Authenticate", "X-Request-ID"} <= operation["responses"]["401"]["headers"].keys()


def test_without_a_keys_file_no_key_is_needed(client: TestClient) -> None:
    assert client.get("/classes").status_code == 200
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]


# --- the file -----------------------------------------------------------------------------------------------------


def test_the_command_makes_a_key_and_the_line_for_the_file() -> None:
    command = [sys.executable, "-m", "app", "key", "the shop"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (key,) = re.findall(r"Bearer (\S+?)`", done.stderr)
    assert Keys(done.stdout.splitlines()).owner(key.encode()) == "the shop"
    assert hashlib.sha256(key.encode()).hexdigest() in done.stdout
    assert key not in done.stdout


def test_no_two_keys_are_the_same_and_each_has_32_random_bytes() -> None:
    assert len({new_key() for _ in range(100)}) == 100
    assert len(new_key()) == 43


@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "with a byte order mark"])
@pytest.mark.parametrize("line", [f"{digest(KEY)} das Geschäft", f"{digest(KEY).upper()} das Geschäft"])
def test_a_keys_file_may_be_written_by_other_editors_and_tools(tmp_path: Path, start: str, line: str) -> None:
    path = tmp_path / "keys"
    path.write_text(f"{start}{line}\r\n", encoding="utf-8")
    assert read_keys(path).owner(KEY.encode()) == "das Geschäft"


@pytest.mark.parametrize("text", ["", "# nothing\n", KEY, f"{digest(KEY)[:-1]}\n", "\xff\xfe"])
def test_a_malformed_file_is_refused_without_revealing_its_content(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(StartError, match="expected") as caught:
        read_keys(path)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_missing_file_stops_the_start_with_one_line(tmp_path: Path) -> None:
    done = start_in_vain(API_KEYS_FILE=tmp_path / "keys")
    assert done.returncode == 3
    assert done.stderr.startswith("fashion-mnist-service: FASHION_API_KEYS_FILE: expected a file of keys, found ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(keys_file: Path) -> None:
    keys_file.chmod(0)
    with pytest.raises(StartError, match="Permission denied"):
        read_keys(keys_file)


# --- the clients --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quiet")
def test_the_client_sends_the_key_that_it_is_given_or_the_one_in_the_environment(
    keys_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "boot.png"
    picture.write_bytes(BOOT)
    with listening(create_app(Settings(api_keys_file=keys_file), FirstPixelClassifier())) as url:
        with FashionClient(url) as stranger, pytest.raises(UnauthorizedError, match="Expected a key"):
            stranger.predict(BOOT)
        with FashionClient(url, api_key=KEY) as client:
            assert client.predict(BOOT).prediction.label == "Ankle boot"
            assert [one.error for one in client.predict_many([BOOT] * 3)] == [None] * 3
        arguments = [str(picture), "--url", url]
        assert client_command([*arguments, "--api-key", KEY]) == 0
        assert client_command(arguments) == 1
        monkeypatch.setenv("FASHION_API_KEY", KEY)
        assert client_command(arguments) == 0


@pytest.mark.parametrize("key", [f"{KEY}\n", f"  {KEY}\r\n"])
def test_whitespace_around_a_key_does_not_belong_to_it(key: str) -> None:
    assert key_headers(key) == {"X-API-Key": KEY}


@pytest.mark.parametrize("key", ["schl\u00fcssel", "two\nlines", "\0"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_repeated(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="printable ASCII") as refused:
        FashionClient(api_key=key)
    assert key not in str(refused.value)
    with pytest.raises(SystemExit):
        client_command(["no.png", "--api-key", key])
    assert "--api-key or FASHION_API_KEY: expected a key" in capsys.readouterr().err


# --- pages of other sites -----------------------------------------------------------------------------------------


def test_a_page_of_an_allowed_site_may_call_and_read_what_it_needs(guarded: TestClient) -> None:
    headers = {"Origin": ELSEWHERE, "X-API-Key": KEY}
    answer = guarded.post("/predict", content=BOOT, headers=headers)
    assert answer.headers["access-control-allow-origin"] == ELSEWHERE
    assert "Retry-After" in answer.headers["access-control-expose-headers"]
    refused = guarded.post("/predict", content=BOOT, headers={"Origin": ELSEWHERE})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, ELSEWHERE)


def test_a_preflight_request_needs_no_key(guarded: TestClient) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    allowed = guarded.options("/predict", headers={"Origin": ELSEWHERE, **asked})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ELSEWHERE)
    foreign = guarded.options("/predict", headers={"Origin": "https://evil.example", **asked})
    assert "access-control-allow-origin" not in foreign.headers


@pytest.mark.parametrize("origins", [f"{ELSEWHERE}, http://localhost:3000", "*"])
def test_a_page_of_any_allowed_site_may_send_and_read_all_our_headers(origins: str) -> None:
    ours = "authorization,content-type,x-api-key,x-request-id,x-request-timeout"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": ours}
    origin = {"Origin": "http://localhost:3000"}
    with TestClient(create_app(Settings(cors_origins=origins), FirstPixelClassifier())) as client:
        assert client.options("/predict", headers=origin | asked).status_code == 200
        answer = client.post("/predict", content=BOOT, headers=origin)
    assert answer.headers["access-control-allow-origin"] in {"*", "http://localhost:3000"}
    exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
    assert {"retry-after", "server-timing", "x-request-id"} <= set(exposed)


@pytest.mark.parametrize("origin", ["https://evil.example", "https://shop.example.evil.example", "null"])
def test_a_page_of_any_other_site_may_not_read_the_answer(guarded: TestClient, origin: str) -> None:
    answer = guarded.post("/predict", content=BOOT, headers={"Origin": origin, "X-API-Key": KEY})
    assert "access-control-allow-origin" not in answer.headers


def test_by_default_no_other_site_may_read_the_answer(client: TestClient) -> None:
    answer = client.post("/predict", content=BOOT, headers={"Origin": ELSEWHERE})
    assert "access-control-allow-origin" not in answer.headers


def test_a_key_without_a_name_is_named_after_its_line() -> None:
    assert Keys(["# ours", digest("a")]).owner(b"a") == "line 2"


def test_paths_that_only_begin_like_open_ones_and_options_requests_need_a_key(keys_file: Path) -> None:
    with TestClient(create_app(Settings(api_keys_file=keys_file), FirstPixelClassifier())) as client:
        for path in ("/webcam", "/healthy", "/web"):
            assert client.get(path).status_code == 401
        assert client.options("/predict").status_code == 401
        assert client.get("/health/ready").status_code == 200
