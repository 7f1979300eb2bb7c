"""What a route may ask for."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Query, Request

from app.imaging.conversion import Mode
from app.predictor import Predictor
from app.settings import Settings


def _predictor(request: Request) -> Predictor:
    return cast("Predictor", request.app.state.predictor)


def _settings(request: Request) -> Settings:
    return cast("Settings", request.app.state.settings)


PredictorDependency = Annotated[Predictor, Depends(_predictor)]
SettingsDependency = Annotated[Settings, Depends(_settings)]
ConversionQuery = Annotated[
    Mode,
    Query(
        description="`auto` leaves a grey 28x28 image untouched and converts anything else as a photo; `photo` always "
        "converts; `none` only resizes."
    ),
]
PreviewQuery = Annotated[bool, Query(description="Whether to answer with the 28x28 image that the model saw as well.")]
