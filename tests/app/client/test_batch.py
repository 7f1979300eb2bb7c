from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from app.client.batch import BATCH_BYTES, BATCH_FILES, Batch, Loaded, batches
from app.errors import InvalidImageError, OverloadedError, PayloadTooLargeError, ServiceError
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
        assert str(one.error) == "Expected at most 100 bytes, found more."


def test_a_full_batch_fits_the_default_limit_of_nginx() -> None:
    (batch,) = batches([bytes(BATCH_BYTES // BATCH_FILES)] * BATCH_FILES, limits(), 1)
    assert len(httpx.Request("POST", "http://a", files=Batch(batch, 0).form()).read()) <= 2**20


def refused(error: ServiceError) -> BatchItem:
    return BatchItem(filename="", problem=problem_of(error))


def test_only_temporary_refusals_are_retried_after_growing_waits_and_not_for_ever() -> None:
    gone = Loaded("two", error=FileNotFoundError())
    batch = Batch([Loaded("one", b"1"), gone, Loaded("three", b"3")], retries=2)
    assert [part[1][1] for part in batch.form()] == [b"1", b"3"]
    assert batch.wait_seconds == 0
    batch.take([refused(InvalidImageError("Damaged.")), refused(OverloadedError("Busy.", 1))])
    waits = []
    while batch.form():
        assert [part[1][1] for part in batch.form()] == [b"3"]
        waits.append(batch.wait_seconds)
        batch.take([refused(OverloadedError("Busy.", 1))])
    assert [type(outcome.error) for outcome in batch.outcomes] == [
        InvalidImageError,
        FileNotFoundError,
        OverloadedError,
    ]
    assert len(waits) == 2
    assert 1 <= waits[0] <= 1.25
    assert 2 <= waits[1] <= 2.5


def test_a_problem_with_an_unknown_code_is_an_error_all_the_same() -> None:
    batch = Batch([Loaded("one", b"1")], retries=2)
    problem = problem_of(ServiceError("New here.")).model_copy(update={"code": "too_blurred", "status": 422})
    batch.take([BatchItem(filename="", problem=problem)])
    error = batch.outcomes[0].error
    assert type(error) is ServiceError
    assert (str(error), error.code, error.status) == ("New here.", "too_blurred", 422)
