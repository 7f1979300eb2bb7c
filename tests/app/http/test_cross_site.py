from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.app.test_routes import BOOT, problem
from tests.fakes import FirstPixelClassifier

SHOP = "https://shop.example"


@pytest.mark.parametrize(
    ("allowed", "headers", "status"),
    [
        ("", {"Sec-Fetch-Site": "cross-site", "Origin": SHOP}, 403),
        ("", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("https://other.example", {"Sec-Fetch-Site": "cross-site", "Origin": SHOP}, 403),
        (f"https://other.example, {SHOP}", {"Sec-Fetch-Site": "cross-site", "Origin": SHOP}, 200),
        ("*", {"Sec-Fetch-Site": "cross-site", "Origin": SHOP}, 200),
        ("", {"Sec-Fetch-Site": "same-origin", "Origin": "http://testserver"}, 200),
        ("", {"Sec-Fetch-Site": "same-site", "Origin": SHOP}, 200),
        ("", {"Sec-Fetch-Site": "none"}, 200),
        ("", {}, 200),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_only_pages_of_allowed_sites_may_have_pictures_classified(
    path: str, allowed: str, headers: dict[str, str], status: int
) -> None:
    with TestClient(create_app(Settings(cors_origins=allowed), FirstPixelClassifier())) as client:
        answer = client.post(path, files={"files" if path.endswith("batch") else "file": BOOT}, headers=headers)
        assert answer.status_code == status
        if status != 200:
            assert problem(answer) == (403, "cross_site")
            assert answer.headers["x-request-id"]
            assert 'fashion_refusals_total{reason="cross_site"} 1.0' in client.get("/metrics").text


def test_pages_that_change_nothing_may_be_linked_from_anywhere() -> None:
    with TestClient(create_app(Settings(), FirstPixelClassifier())) as client:
        for path in ("/", "/model", "/docs"):
            assert client.get(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200
        assert client.delete("/predict", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 405
