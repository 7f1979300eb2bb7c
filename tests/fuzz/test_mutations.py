from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest

from app.imaging.decode import FORMATS
from tests.fuzz.files import DAMAGES, damaged_files, intact_files
from tests.fuzz.mutations import main, outcome

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as the service does

PROBLEM = {"content-type": "application/problem+json"}


@pytest.mark.usefixtures("quiet")
def test_a_few_hundred_damaged_files_cause_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--files", "240", "--seed", "1"]) == 0
    *rows, summary = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows[1:]] == list(FORMATS)
    assert summary.startswith("240 files, ")
    assert summary.endswith(", 0 failures")


def test_the_same_seed_makes_the_same_files() -> None:
    def first(seed: int) -> list[bytes]:
        return list(damaged_files("PNG", 100, seed))

    assert first(0) == first(0)
    assert first(0) != first(1)


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_changes_nearly_every_file(damage: Callable[[bytes, np.random.Generator], bytes]) -> None:
    changed = [damage(data, np.random.default_rng(0)) != data for kind in FORMATS for data in intact_files(kind)]
    assert sum(changed) > 0.8 * len(changed)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx2.Response(200), "answered"),
        (
            httpx2.Response(422, headers=PROBLEM, json={"code": "invalid_image", "detail": "Expected this"}),
            "invalid_image",
        ),
    ],
)
def test_a_documented_answer_is_not_a_failure(answer: httpx2.Response, expected: str) -> None:
    assert outcome(answer) == expected


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(500, headers=PROBLEM, json={"code": "internal", "detail": "Expected this"}),
        httpx2.Response(504, headers=PROBLEM, json={"code": "timeout", "detail": "Expected this"}),
        httpx2.Response(422, headers=PROBLEM, json={"code": "image_too_large", "detail": "Expected this"}),
        httpx2.Response(422, json={"code": "invalid_image", "detail": "Expected this"}),
        httpx2.Response(400, text="Bad Request"),
    ],
)
def test_anything_else_is_a_failure(answer: httpx2.Response) -> None:
    assert outcome(answer) is None
