"""What a route may ask for."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, cast
from urllib.parse import parse_qsl

from fastapi import Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError

from app.imaging.conversion import Mode
from app.metrics import Metrics
from app.predictor import Predictor
from app.settings import Settings


def _predictor(request: Request) -> Predictor:
    return cast("Predictor", request.app.state.predictor)


def _metrics(request: Request) -> Metrics:
    return cast("Metrics", request.app.state.metrics)


def _settings(request: Request) -> Settings:
    return cast("Settings", request.app.state.settings)


class Wishes(BaseModel):
    """What the query of a prediction may ask for."""

    conversion: Mode = Field(
        default=Mode.AUTO,
        description="`auto` leaves a grey 28x28 image untouched and converts anything else as a photo; `photo` always "
        "converts; `none` only resizes.",
    )
    preview: bool = Field(
        default=False, description="Whether to answer with the 28x28 image that the model saw as well."
    )


@lru_cache(maxsize=64)
def wishes_of(query_string: bytes) -> Wishes:
    """Read a query as FastAPI does, but once for each that is sent again and again.

    Raises:
        RequestValidationError: A value does not fit.
    """
    try:
        return Wishes.model_validate(dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)))
    except ValidationError as error:
        raise RequestValidationError([one | {"loc": ("query", *one["loc"])} for one in error.errors()]) from error


PredictorDependency = Annotated[Predictor, Depends(_predictor)]
MetricsDependency = Annotated[Metrics, Depends(_metrics)]
SettingsDependency = Annotated[Settings, Depends(_settings)]
WishesQuery = Annotated[Wishes, Query()]
