from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

pytestmark = pytest.mark.fuzz

CONFIG = Path(__file__).with_name("schemathesis.toml")


def test_the_service_keeps_every_promise_of_its_api_document(url: str) -> None:
    schemathesis = str(Path(sys.executable).with_name("schemathesis"))
    asked = subprocess.run(
        [schemathesis, "--config-file", str(CONFIG), "run", f"{url}/openapi.json", "--checks", "all", "--no-color"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    print(asked.stdout, asked.stderr)  # noqa: T201  pytest shows it when a promise is broken
    assert asked.returncode == 0
    paths = httpx2.get(f"{url}/openapi.json").json()["paths"]
    assert f"Tested: {sum(map(len, paths.values()))}\n" in asked.stdout
