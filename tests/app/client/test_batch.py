from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from app.client.batch import BATCH_BYTES, BATCH_FILES, Loaded, batches, form_of, outcomes_of, refusals_of
from app.errors import (
    InvalidImageError,
    InvalidRequestError,
    OverloadedError,
    PayloadTooLargeError,
    ServiceError,
    UnauthorizedError,
)
from app.schemas import BatchItem, Limits, problem_of
from app.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def limits(**changes: int) -> Limits:
    values = {name: value for name, value in Settings().model_dump().items() if name in Limits.model_fields}
    return Limits.model_validate(values | {"formats": (), "max_pending_images": 256} | changes)


def sizes(pictures: list[bytes], at_once: int = 4, **changes: int) -> list[int]:
    return [len(batch) for batch in batches(pictures, limits(**changes), at_once)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"max_pending_images": 256}, [*[BATCH_FILES] * 3, 4]),
        ({"max_pending_images": 256, "max_batch_files": 60}, [32, 32, 32, 4]),
        ({"max_pending_images": 256, "max_batch_files": 25}, [25] * 4),
        ({"max_pending_images": 160}, [20] * 5),  # four batches of 20 take half of the places
        ({"max_pending_images": 1}, [1] * 100),
    ],
)
def test_batches_are_as_large_as_the_service_allows(changes: dict[str, int], expected: list[int]) -> None:
    assert sizes([b"."] * 100, **changes) == expected


def test_large_pictures_go_in_small_batches_and_the_largest_alone() -> None:
    third = bytes(BATCH_BYTES // 3)
    assert sizes([third] * 7) == [3, 3, 1]
    assert sizes([third, bytes(2 * BATCH_BYTES), third]) == [1, 1, 1]
    assert sizes([third] * 3, max_batch_bytes=2 * len(third)) == [1, 1, 1]


def test_no_pictures_make_no_batch() -> None:
    assert sizes([]) == []


def test_a_picture_that_cannot_be_read_keeps_its_place(tmp_path: Path) -> None:
    pictures: list[bytes | Path] = [b"one", tmp_path / "missing", b"two"]
    (batch,) = batches(pictures, limits(), 1)
    assert [one.data for one in batch] == [b"one", b"", b"two"]
    assert isinstance(batch[1].error, FileNotFoundError)


def test_a_picture_over_the_limit_is_not_read_to_its_end_and_not_sent(tmp_path: Path) -> None:
    with (tmp_path / "huge.tif").open("wb") as sparse:
        sparse.truncate(2**40)  # more than any machine's memory
    pictures: list[bytes | Path] = [b"." * 100, tmp_path / "huge.tif", b"." * 101]
    (batch,) = batches(pictures, limits(max_body_bytes=100), 1)
    assert [len(one.data) for one in batch] == [100, 0, 0]
    for one in batch[1:]:
        assert isinstance(one.error, PayloadTooLargeError)
        assert str(one.error) == "Expected at most 100 bytes, found more. Send a smaller picture."


def test_a_full_batch_fits_the_default_limit_of_nginx() -> None:
    (batch,) = batches([bytes(BATCH_BYTES // BATCH_FILES)] * BATCH_FILES, limits(), 1)
    assert len(httpx.Request("POST", "http://a", files=form_of(batch)).read()) <= 2**20


def test_each_picture_gets_the_answer_at_its_place_in_the_request_or_its_own_error() -> None:
    gone = FileNotFoundError()
    pictures = [Loaded("one", b"1"), Loaded("two", error=gone), Loaded("three", b"3")]
    assert [part[1][1] for part in form_of(pictures)] == [b"1", b"3"]
    items = [
        BatchItem(filename="", problem=problem_of(error)) for error in (InvalidImageError("-"), OverloadedError("-", 1))
    ]
    found = outcomes_of(pictures, items)
    assert [outcome.picture for outcome in found] == ["one", "two", "three"]
    assert [type(outcome.error) for outcome in found] == [InvalidImageError, FileNotFoundError, OverloadedError]
    refusal = OverloadedError("-", 1)
    assert [outcome.error for outcome in refusals_of(pictures, refusal)] == [refusal, gone, refusal]


@pytest.mark.parametrize("kind", [UnauthorizedError, InvalidRequestError])
def test_what_would_refuse_every_batch_is_raised(kind: type[ServiceError]) -> None:
    with pytest.raises(kind):
        refusals_of([Loaded("one", b"1")], kind("-"))


def test_a_problem_with_an_unknown_code_is_an_error_all_the_same() -> None:
    problem = problem_of(ServiceError("New here.")).model_copy(update={"code": "too_blurred", "status": 422})
    (outcome,) = outcomes_of([Loaded("one", b"1")], [BatchItem(filename="", problem=problem)])
    assert type(outcome.error) is ServiceError
    assert (str(outcome.error), outcome.error.code, outcome.error.status) == ("New here.", "too_blurred", 422)
