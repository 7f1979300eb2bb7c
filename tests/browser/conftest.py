"""Chromium and a running service for the tests of the pages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.app.test_main import service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

SCREENSHOTS = Path(__file__).parent / "screenshots"
"""Screenshots for people to look at; `docs/page.png` is one of them."""
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Yield the URL of a service with the shipped model that accepts at most two pending pictures."""
    with service(MAX_PENDING_IMAGES=2, LOG_LEVEL="warning") as (_, url):
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/it"
    expect.set_options(timeout=20_000)  # the machine may be busy
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET + CAMERA)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """Yield a page, then require that its console shows no error, such as an exception or a policy violation."""
    with browser.new_context(base_url=url, viewport={"width": 1280, "height": 1080}) as context:
        page = context.new_page()
        page.set_default_timeout(20_000)
        told: list[tuple[str, str]] = []
        page.on("pageerror", lambda error: told.append(("error", str(error))))
        page.on("console", lambda message: told.append((message.type, message.text)))
        yield page
        # Some tests provoke refusals and broken connections.
        assert [text for kind, text in told if kind == "error" and not text.startswith("Failed to load")] == []


def keep(page: Page, name: str, *, whole: bool = True) -> None:
    """Save a screenshot for a person to look at."""
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=whole, animations="disabled")
