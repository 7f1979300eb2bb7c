"""What a request may ask for besides a prediction, for routes to declare: options in its query, a deadline."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, cast
from urllib.parse import parse_qsl

from fastapi import Depends, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, WithJsonSchema

from app.imaging.conversion import Mode
from app.predictor import Predictor
from app.settings import Settings
from app.telemetry.metrics import Metrics


def _of_state(name: str) -> Any:  # noqa: ANN401  as FastAPI's Depends
    # async, although it awaits nothing: FastAPI calls other dependencies in a thread, which takes longer than the rest
    async def of(request: Request) -> Any:  # noqa: ANN401  what `create_app` put there
        return getattr(request.app.state, name)

    return Depends(of)


class Wishes(BaseModel, extra="forbid"):
    """Query options of a prediction; others are refused, since a misspelt one would otherwise be silently ignored."""

    conversion: Mode = Field(
        default=Mode.AUTO,
        description="`auto` leaves a grey 28x28 image untouched and otherwise chooses by what the picture looks like; "
        "`photo` treats it as a photograph; `none` only resizes it.",
    )
    preview: bool = Field(default=False, description="Whether to include the 28x28 image that the model saw.")


@lru_cache(maxsize=64)
def wishes_of(query_string: bytes) -> Wishes:
    """Parse a query as FastAPI does, but only once if the same one is sent repeatedly.

    Raises:
        RequestValidationError: A value is invalid, or an option does not exist.
    """
    try:
        return Wishes.model_validate(dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)))
    except ValidationError as error:
        raise _in_request(error, "query") from error


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
TIMEOUT_HEADER = b"x-request-timeout"

_seconds = TypeAdapter(Seconds)


def seconds_of(header: str | None) -> float | None:
    """Parse `X-Request-Timeout` as FastAPI does.

    Raises:
        RequestValidationError: It is not a positive, finite number of seconds.
    """
    if header is None:
        return None
    try:
        return _seconds.validate_python(header)
    except ValidationError as error:
        raise _in_request(error, "header", TIMEOUT_HEADER.decode()) from error


def _in_request(error: ValidationError, *where: str) -> RequestValidationError:
    """Add to the location of each error the part of the request that it is in."""
    return RequestValidationError(
        [cast("dict[str, Any]", one) | {"loc": (*where, *one["loc"])} for one in error.errors()]
    )


PredictorDependency = Annotated[Predictor, _of_state("predictor")]
MetricsDependency = Annotated[Metrics, _of_state("metrics")]
SettingsDependency = Annotated[Settings, _of_state("settings")]
WishesQuery = Annotated[Wishes, Query()]
TimeoutHeader = Annotated[
    Seconds | None,
    WithJsonSchema(
        {"type": "number", "exclusiveMinimum": 0, "examples": [2.5]}
    ),  # without null, which a header cannot express
    Header(
        alias=TIMEOUT_HEADER.decode(),
        description="Deadline in seconds, counted from the arrival of the request and capped at the service's own "
        "limit. Work that is not finished by then is dropped and answered with 504.",
    ),
]
