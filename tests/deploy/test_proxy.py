"""The answers that nginx gives by itself and its limits, compared with those of the service."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path

from app.errors import OverloadedError, PayloadTooLargeError
from app.schemas import Problem
from app.settings import Settings

CONFIGURATION = (Path(__file__).parents[2] / "deploy" / "nginx.conf").read_text()


def test_its_own_errors_are_worded_like_those_of_the_service() -> None:
    not_found = HTTPStatus.NOT_FOUND
    expected = [
        (not_found, "not_found", not_found.phrase),
        *((error.status, error.code, error.title) for error in (PayloadTooLargeError, OverloadedError)),
    ]
    answers = re.findall(r"return (\d+) '(.+)';", CONFIGURATION)
    for (status, body), (known_status, code, title) in zip(answers, expected, strict=True):
        problem = Problem.model_validate_json(body)
        assert body == problem.model_dump_json()
        assert int(status) == problem.status == known_status
        assert (problem.type, problem.code, problem.title) == (f"urn:problem:fashion-mnist:{code}", code, title)


def test_its_body_limit_is_that_of_the_service() -> None:
    (mebibytes,) = re.findall(r"client_max_body_size (\d+)m;", CONFIGURATION)
    assert int(mebibytes) * 2**20 == Settings().max_batch_bytes
