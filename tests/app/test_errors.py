from __future__ import annotations

import pickle
import re

import pytest

from app import errors


def _leaves(error: type[errors.ServiceError]) -> list[type[errors.ServiceError]]:
    return [error, *(leaf for child in error.__subclasses__() for leaf in _leaves(child))]


def test_the_tree_in_the_module_docstring_lists_every_error_with_its_status_and_code() -> None:
    listed = set(re.findall(r"(\w+Error) +(\d{3}) (\w+)", errors.__doc__ or ""))
    answered = [error for error in _leaves(errors.ServiceError) if error is not errors.RetryableError]
    assert listed == {(error.__name__, str(error.status.value), error.code) for error in answered}


@pytest.mark.parametrize("error", [errors.OverloadedError("Full.", 3), errors.InvalidImageError("Cut off.")])
def test_an_error_can_be_sent_to_another_process(error: errors.ServiceError) -> None:
    error.request_id = "7"  # as a client sets it
    arrived = pickle.loads(pickle.dumps(error))  # noqa: S301  our own
    assert (type(arrived), str(arrived), vars(arrived)) == (type(error), str(error), vars(error))


def test_no_two_errors_share_a_code() -> None:
    codes = [error.code for error in _leaves(errors.ServiceError) if error is not errors.RetryableError]
    assert len(codes) == len(set(codes))
