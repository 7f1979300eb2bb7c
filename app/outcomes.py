"""The outcome for one of many pictures: a prediction, or the reason why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from app.schemas import Prediction

Given_co = TypeVar("Given_co", covariant=True)


class Outcome(NamedTuple, Generic[Given_co]):
    """A picture with its prediction or its error, one of which is None.

    Attributes:
        picture: The picture as it was given.
        prediction: The answer.
        error: A `ServiceError` if the picture was refused, an `OSError` if it could not be read.
    """

    picture: Given_co
    prediction: Prediction | None = None
    error: Exception | None = None
