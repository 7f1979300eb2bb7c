from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import numpy as np
import pytest
from PIL import ExifTags, Image

from app.http.pages import WEB, prefers_html
from tests.app.test_routes import photograph
from tests.conftest import encoded
from tests.fakes import tagged_image

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
PAGES = ["/", "/docs", "/model"]
SIDEWAYS = Image.Exif()
SIDEWAYS[ExifTags.Base.Orientation] = 6


@pytest.mark.parametrize("path", PAGES)
def test_a_page_needs_no_other_host_and_everything_it_refers_to_exists(client: TestClient, path: str) -> None:
    page = client.get(path, headers={"Accept": BROWSER})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    loaded = re.findall(r'(?:src|<link rel="\w+" href)="([^"]+)"', page.text)
    linked = re.findall(r'<a [^>]*href="([^":]+)"', page.text)
    assert len(loaded) >= 2
    assert [url for url in loaded + linked if client.get(f"/{url.removeprefix('./')}").status_code != 200] == []


@pytest.mark.parametrize("path", [*PAGES, "/web/page.js"])
def test_a_page_runs_nothing_but_its_own_files(client: TestClient, path: str) -> None:
    page = client.get(path, headers={"Accept": BROWSER})
    policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert (policy["default-src"], policy["script-src"], policy["style-src"]) == ("'none'", "'self'", "'self'")
    assert (policy["connect-src"], policy["img-src"]) == ("'self'", "'self' data: blob:")
    assert policy["frame-ancestors"] == "'none'"
    assert not re.search(r"<script(?! [^>]*src=)|<style| style=| on\w+=", page.text)


def test_every_module_of_the_page_is_preloaded() -> None:
    modules, found = {"page.js"}, set[str]()
    while modules - found:
        found |= (name := {(modules - found).pop()})
        modules |= set(re.findall(r'from "\./(\w+\.js)"', (WEB / name.pop()).read_text()))
    named = re.findall(r'rel="modulepreload" href="web/(\w+\.js)"', (WEB / "index.html").read_text())
    assert sorted(named) == sorted(modules - {"page.js"})


def test_the_pages_weigh_less_than_67_kilobytes_without_the_samples() -> None:
    assert sum(path.stat().st_size for path in WEB.iterdir() if path.is_file()) < 67_000


@pytest.mark.parametrize("path", [*PAGES[:2], "/web/page.js"])
def test_a_page_that_is_a_file_is_not_sent_again_unless_it_changed(client: TestClient, path: str) -> None:
    first = client.get(path)
    assert first.headers["cache-control"] == "no-cache"
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert client.get(path, headers={"If-None-Match": '"another"'}).content == first.content


@pytest.mark.parametrize("wish", ["bytes=0-1", "bytes=9999999-", "bytes=2-1", "lines=1-2", "nonsense"])
@pytest.mark.parametrize("path", ["/", "/web/page.js"])
def test_a_file_is_always_sent_whole_and_no_ranges_are_offered(client: TestClient, path: str, wish: str) -> None:
    whole, ranged = client.get(path), client.get(path, headers={"Range": wish})
    assert (ranged.status_code, ranged.content) == (200, whole.content)
    assert "accept-ranges" not in ranged.headers


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("text/*, application/json;q=0.9", True),
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("application/json, text/html;q=0.9", False),
        ("text/html;q=0, */*", False),
        ("text/html;q=high", False),
        ("application/json;q=0.5, text/html;level=1;q=0.4", False),
    ],
)
def test_html_is_sent_to_clients_that_prefer_it_to_json(client: TestClient, accept: str, expected: bool) -> None:  # noqa: FBT001  a parameter of the test
    assert prefers_html(accept) is expected
    answer = client.get("/model", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("text/html" if expected else "application/json")
    assert answer.headers["vary"] == "Accept"


@pytest.mark.parametrize(("path", "status"), [("/modle", 404), ("/a/b/c", 404), ("/web/", 404), ("/predict", 405)])
def test_a_mistyped_address_in_a_browser_gets_a_page_that_leads_back(
    client: TestClient, path: str, status: int
) -> None:
    page, told = client.get(path, headers={"Accept": BROWSER}), client.get(path)
    assert (page.status_code, told.status_code) == (status, status)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == client.get("/").headers["content-security-policy"]
    assert (page.headers["vary"], page.headers.get("allow")) == ("Accept", told.headers.get("allow"))
    assert [one.headers.get_list("cache-control") for one in (page, told)] == [["no-store"]] * 2
    assert told.json()["detail"] in page.text
    links = [urljoin(path, link) for link in re.findall(r'<a [^>]*href="([^"]+)"', page.text)]
    assert links == ["/", "/", "/model", "/docs"]


def test_an_address_that_a_page_repeats_runs_nothing(client: TestClient) -> None:
    page = client.get("/<script src=x>", headers={"Accept": BROWSER}).text
    assert "/&lt;script src=x&gt;" in page
    assert "<script" not in page


def test_the_page_names_the_kinds_that_the_model_knows(client: TestClient) -> None:
    *most, last = (one["label"] for one in client.get("/classes").json())
    assert f"catalogue: {', '.join(most)} and {last}." in " ".join(client.get("/").text.split())


def test_the_page_has_words_for_every_mode_and_every_step_of_the_conversion_and_no_others(client: TestClient) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
    pictures = {
        "native": encoded(tagged_image(1)),
        "catalogue": encoded(photograph()),
        "dark": encoded(Image.eval(photograph(), lambda value: max(0, 235 - value))),
        "cut out": encoded(np.dstack([noise, np.tri(90, dtype=np.uint8) * 255])),
        "transparent": encoded(Image.new("RGBA", (90, 90), (0, 0, 0, 0))),
        "noise": encoded(noise),
        "framed": encoded(np.pad(noise, ((20, 20), (0, 0), (0, 0)))),
        "half": encoded(photograph(), "JPEG", exif=SIDEWAYS.tobytes()),
        "quarter": encoded(photograph(2), "JPEG"),
        "eighth": encoded(photograph(4), "JPEG"),
    }
    answers = [
        client.post(f"/predict?conversion={mode}", content=picture).json()["conversion"]
        for picture in pictures.values()
        for mode in ("auto", "photo", "none")
    ]
    words = (WEB / "words.js").read_text()
    steps, modes = (
        set(re.findall(r"^  (\w+): ", body, re.MULTILINE))
        for body in re.findall(r"^const (?:STEPS|MODES) = \{\n(.+?)^\};", words, re.MULTILINE | re.DOTALL)
    )
    assert {step for answer in answers for step in answer["steps"]} == steps
    assert {answer["mode"] for answer in answers} == modes
