from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import StartError
from app.settings import FRAMING_BYTES, Settings, read_settings


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read_settings({}) == Settings()


def test_variables_with_the_prefix_are_read_and_others_are_left_alone() -> None:
    settings = read_settings({"FASHION_PORT": "9000", "FASHION_MODEL_DIR": "/models/2", "PORT": "1"})
    assert settings.port == 9000
    assert settings.model_dir == Path("/models/2")


@pytest.mark.parametrize(("value", "workers"), [("3", 3), ("auto", "auto"), ("AUTO", "auto")])
def test_workers_are_a_number_or_auto(value: str, workers: int | str) -> None:
    assert read_settings({"FASHION_WORKERS": value}).workers == workers


def test_variables_that_the_client_reads_are_ignored() -> None:
    assert read_settings({"FASHION_URL": "http://a", "FASHION_API_KEY": "secret"}) == Settings()


def test_variables_that_kubernetes_sets_for_a_service_with_a_similar_name_are_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("FASHION", "FASHION_MNIST", "FASHION_API"):
        monkeypatch.setenv(f"{name}_PORT", "tcp://10.0.0.1:8000")
        monkeypatch.setenv(f"{name}_SERVICE_HOST", "10.0.0.1")
        monkeypatch.setenv(f"{name}_SERVICE_PORT", "8000")
        monkeypatch.setenv(f"{name}_SERVICE_PORT_HTTP", "8000")
        for end in ("", "_PROTO", "_PORT", "_ADDR"):
            monkeypatch.setenv(f"{name}_PORT_8000_TCP{end}", "tcp")
    assert read_settings() == Settings()


def test_a_log_level_may_be_written_in_capitals() -> None:
    assert read_settings({"FASHION_LOG_LEVEL": "WARNING"}).log_level == "warning"


def test_an_unknown_variable_stops_the_start_and_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(StartError, match=r"^FASHION_PROT: expected FASHION_PORT, found an unknown setting$"):
        read_settings({"FASHION_PROT": "9000"})


@pytest.mark.parametrize("name", ["fashion_port", "FASHION_port", "Fashion_Port"])
def test_a_variable_in_small_letters_is_named_with_the_one_that_was_meant(name: str) -> None:
    with pytest.raises(StartError, match=rf"^{name}: expected FASHION_PORT, found an unknown setting$"):
        read_settings({name: "9000"})


@pytest.mark.parametrize("name", ["FASHION_MODEL_DIR", "FASHION_API_KEYS_FILE"])
def test_an_empty_path_stops_the_start(name: str) -> None:
    with pytest.raises(StartError, match=rf"^{name}: expected the path of a file or folder, found ''$"):
        read_settings({name: ""})


def test_an_unknown_variable_that_resembles_no_other_is_named_with_all_of_them() -> None:
    with pytest.raises(
        StartError, match=r"^FASHION_XYZZY: expected FASHION_HOST or FASHION_PORT or .*LOG_LEVEL, found"
    ):
        read_settings({"FASHION_XYZZY": "1"})


def test_a_limit_under_which_an_allowed_body_never_finds_room_stops_the_start() -> None:
    least = 2 * (64 * 2**20 + FRAMING_BYTES)
    assert read_settings({"FASHION_MAX_PENDING_BYTES": str(least)}).max_pending_bytes == least
    with pytest.raises(StartError, match=rf"FASHION_MAX_PENDING_BYTES: expected at least {least}, twice the largest"):
        read_settings({"FASHION_MAX_PENDING_BYTES": str(least - 1)})
    with pytest.raises(StartError, match=r"FASHION_MAX_PENDING_BYTES: expected at least 600131072, twice the largest"):
        read_settings({"FASHION_MAX_BATCH_BYTES": "300000000"})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FASHION_HOST", ""),
        ("FASHION_PORT", "http"),
        ("FASHION_PORT", "70000"),
        ("FASHION_WORKERS", "0"),
        ("FASHION_WORKERS", "many"),
        ("FASHION_LOG_FORMAT", "xml"),
        ("FASHION_REQUEST_TIMEOUT_SECONDS", "0"),
        ("FASHION_REQUEST_TIMEOUT_SECONDS", "inf"),
        ("FASHION_MAX_QUEUE_SECONDS", "inf"),
        ("FASHION_RECEIVE_SECONDS", "inf"),
        ("FASHION_DRAIN_SECONDS", "inf"),
        ("FASHION_DRAIN_SECONDS", "nan"),
        ("FASHION_CORS_ORIGINS", "shop.example"),
        ("FASHION_CORS_ORIGINS", "https://shop.example/path"),
    ],
)
def test_a_bad_value_stops_the_start_with_one_line_that_names_the_variable_and_the_value(
    variable: str, value: str
) -> None:
    with pytest.raises(StartError) as caught:
        read_settings({variable: value})
    assert str(caught.value).startswith(f"{variable}: expected")
    assert repr(value) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_origin_is_answered_with_a_good_one() -> None:
    with pytest.raises(
        StartError, match=r"expected origins such as https://a\.example, with commas between them, or \*"
    ):
        read_settings({"FASHION_CORS_ORIGINS": "shop.example"})


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://a.example/ ,http://localhost:3000/", "https://a.example ,http://localhost:3000"),
        ("https://Shop.Example:443/, http://a:80", "https://shop.example, http://a"),
        ("http://a:8080,https://a:4430 ,http://a:443", "http://a:8080,https://a:4430 ,http://a:443"),
    ],
)
def test_an_origin_may_be_written_otherwise_than_a_browser_sends_it(given: str, sent: str) -> None:
    assert read_settings({"FASHION_CORS_ORIGINS": given}).cors_origins == sent
