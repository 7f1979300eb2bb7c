"""The endpoints: parse, delegate, answer."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from app import __version__
from app.admission import Line
from app.dependencies import MetricsDependency, PredictorDependency, SettingsDependency, TimeoutHeader, WishesQuery
from app.errors import (
    BodyTooSlowError,
    CrossSiteError,
    HeaderTooLargeError,
    ImageTooLargeError,
    InvalidImageError,
    InvalidRequestError,
    MalformedRequestError,
    NotReadyError,
    OverloadedError,
    PayloadTooLargeError,
    RequestTimeoutError,
    RequestTooSlowError,
    ServiceError,
    UnsupportedMediaTypeError,
)
from app.http import pages
from app.http.forms import MULTIPART, Upload
from app.http.model_page import model_page
from app.http.patience import NEVER, Deadline, Patience
from app.http.problems import OTHERWISE, JsonAnswer, documented, internal_problem, refusal
from app.http.uploads import FILE_FIELD, FILES_FIELD, Held, read_upload, read_uploads, require_size
from app.imaging.decode import FORMATS, RAW_MEDIA_TYPE
from app.schemas import (
    BatchPrediction,
    ClassName,
    Health,
    Limits,
    ModelInformation,
    Prediction,
    problem_of,
)
from app.stages import Stages
from app.telemetry.metrics import MEDIA_TYPE as METRICS_MEDIA_TYPE
from app.telemetry.trace import TRACE, Trace

logger = structlog.get_logger(__name__)

router = APIRouter(responses=OTHERWISE)

_OF_ANY_BODY = (
    MalformedRequestError,
    CrossSiteError,
    RequestTooSlowError,
    BodyTooSlowError,
    PayloadTooLargeError,
    InvalidRequestError,
    HeaderTooLargeError,
    OverloadedError,
    NotReadyError,
    ServiceError,
)
_BINARY = {"type": "string", "format": "binary"}
_ONE_PICTURE = {
    "required": True,
    "description": f"One picture ({', '.join(FORMATS)}): as the form field `{FILE_FIELD}`, with a filename, or as the "
    "body itself.",
    "content": {
        MULTIPART: {"schema": {"type": "object", "required": [FILE_FIELD], "properties": {FILE_FIELD: _BINARY}}},
        "image/*": {"schema": _BINARY},
        RAW_MEDIA_TYPE: {"schema": _BINARY},
    },
}
_MANY_PICTURES = {
    "required": True,
    "description": f"Pictures, each as a form field `{FILES_FIELD}`, with a filename.",
    "content": {
        MULTIPART: {
            "schema": {
                "type": "object",
                "required": [FILES_FIELD],
                "properties": {FILES_FIELD: {"type": "array", "minItems": 1, "items": _BINARY}},
            }
        },
    },
}
_SERVER_TIMING = {
    "Server-Timing": {
        "description": "How long each stage took, in milliseconds; `queue` names the size of the batch. Missing if "
        "the request was refused before it reached this endpoint.",
        "schema": {"type": "string"},
        "example": 'receive;dur=0.008, decode;dur=0.040, convert;dur=0.011, queue;dur=9.235;desc="batch of 22", '
        "infer;dur=1.005, serialise;dur=0.015",
    }
}


@router.post(
    "/predict",
    summary="Classify one picture",
    response_description="The prediction.",
    tags=["predict"],
    response_model=Prediction,
    responses=documented(
        *_OF_ANY_BODY,
        ImageTooLargeError,
        UnsupportedMediaTypeError,
        InvalidImageError,
        RequestTimeoutError,
        headers=_SERVER_TIMING,
    )
    | {200: {"headers": _SERVER_TIMING}},
    openapi_extra={"requestBody": _ONE_PICTURE},
)
async def predict(
    request: Request,
    predictor: PredictorDependency,
    settings: SettingsDependency,
    wishes: WishesQuery,
    timeout_seconds: TimeoutHeader = None,
) -> Response:
    """Return the most probable class and all ten probabilities.

    The format is detected from the bytes, not from the filename or media type. 784 bytes sent as
    `application/octet-stream` are read as a 28x28 grey image, row by row.
    """
    trace: Trace = request.scope[TRACE]
    trace.stages.append(stages := Stages())
    held = Held(request.app.state.body_budget)
    try:
        with Patience(Deadline.after(settings.request_timeout_seconds, timeout_seconds)) as patience:
            try:
                await predictor.admit_request(request.scope.get("client"))
            finally:
                stages.end("queue")
            upload = await read_upload(request, settings.max_body_bytes, held)
            stages.end("receive")
            patience.listen(request.receive)
            answer = await predictor.predict(
                upload.data, upload.media_type, wishes.conversion, preview=wishes.preview, stages=stages
            )
        trace.answers.append(answer)
        response: Response = JsonAnswer(orjson.dumps(answer))
        stages.end("serialise")
    except ServiceError as error:
        response = refusal(error)
    finally:
        held.release()
    response.raw_headers.append((b"server-timing", stages.header().encode()))
    return response


@router.post(
    "/predict/batch",
    summary="Classify many pictures",
    response_description="A result or a problem for each picture.",
    tags=["predict"],
    response_model=BatchPrediction,
    responses=documented(*_OF_ANY_BODY, RequestTimeoutError),
    openapi_extra={"requestBody": _MANY_PICTURES},
)
async def predict_batch(
    request: Request,
    predictor: PredictorDependency,
    settings: SettingsDependency,
    wishes: WishesQuery,
    timeout_seconds: TimeoutHeader = None,
) -> Response:
    """Return a result or a problem for each file, in the order sent.

    One bad file does not affect the others. A picture that misses the deadline gets a problem of its own.
    """
    trace: Trace = request.scope[TRACE]
    trace.stages.append(of_all := Stages())
    deadline = Deadline.after(settings.request_timeout_seconds, timeout_seconds)

    async def item(upload: Upload, line: Line) -> dict[str, Any]:
        """Return a `schemas.BatchItem` in plain types."""
        trace.stages.append(stages := Stages())
        try:
            require_size(upload.data, settings.max_body_bytes)
            with Patience(deadline):
                answer = await predictor.predict(
                    upload.data,
                    upload.media_type,
                    wishes.conversion,
                    preview=wishes.preview,
                    stages=stages,
                    line=line,
                )
        except Exception as error:  # without effect on the others
            known = error if isinstance(error, ServiceError) else None
            if not known:
                logger.exception("picture failed")
            problem = problem_of(known) if known else internal_problem()
            trace.problems.append(problem.code)
            return {"filename": upload.filename, "problem": problem.model_dump()}
        trace.answers.append(answer)
        return {"filename": upload.filename, "result": answer}

    held = Held(request.app.state.body_budget)
    try:
        with Patience(deadline):
            try:
                await predictor.admit_request(request.scope.get("client"))
            finally:
                of_all.end("queue")
            uploads = await read_uploads(request, settings.max_batch_files, settings.max_batch_bytes, held)
            of_all.end("receive")
        pictures = [upload.data for upload in uploads if len(upload.data) <= settings.max_body_bytes]
        with (
            predictor.line_up(pictures, wishes.conversion, request.scope.get("client")) as line,
            Patience(NEVER) as patience,  # each picture has the deadline itself
        ):
            patience.listen(request.receive)
            tasks = [asyncio.ensure_future(item(upload, line)) for upload in uploads]
            try:
                items = await asyncio.gather(*tasks)
            finally:  # if the client is gone, nobody needs their answers
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        of_all.leave_out()
        response = JsonAnswer(orjson.dumps({"results": items}))
        of_all.end("serialise")
        return response
    finally:
        held.release()


@router.get("/", include_in_schema=False)
async def root(request: Request) -> Response:
    """Return the page for trying the service."""
    return pages.static("index.html", request.scope)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """Return the page with the API document, to read and to try."""
    return pages.static("docs.html", request.scope)


@router.get("/classes", summary="The ten classes", response_description="The classes.", tags=["model"])
async def classes(predictor: PredictorDependency) -> tuple[ClassName, ...]:
    """Return the classes in the order of the probabilities."""
    return predictor.classes


@router.get(
    "/model",
    summary="The model card and the limits",
    tags=["model"],
    response_model=ModelInformation,
    responses={200: {"description": "As JSON, or as a page for browsers.", "content": {"text/html": {}}}},
)
async def model(
    predictor: PredictorDependency,
    settings: SettingsDependency,
    request: Request,
    response: Response,
) -> ModelInformation | Response:
    """Return what the model is, how it was trained and measured, and what the service accepts."""
    limits: dict[str, Any] = {name: getattr(settings, name) for name in Limits.model_fields if name != "formats"}
    information = ModelInformation(
        card=predictor.card,
        coverage=settings.coverage,
        limits=Limits(formats=FORMATS, **limits),
        service_version=__version__,
    )
    if pages.prefers_html(request.headers.get("accept", "")):
        return pages.page(model_page(information))
    response.headers["Vary"] = "Accept"
    return information


@router.get("/health/live", summary="Liveness", response_description="The process answers.", tags=["health"])
async def live() -> Health:
    """Answer as long as the event loop runs."""
    return Health(status="live")


@router.get(
    "/health/ready",
    summary="Readiness",
    response_description="It can predict.",
    tags=["health"],
    responses=documented(NotReadyError),
)
async def ready(request: Request) -> Health:
    """Answer 200 until the service begins to stop. Until the model is loaded, checked and warm, nothing answers."""
    if not request.app.state.ready:
        msg = "Expected a service with a loaded model, received one that is stopping. Try again later."
        raise NotReadyError(msg, 1)
    return Health(status="ready")


@router.get(
    "/metrics",
    summary="Metrics of all workers",
    tags=["health"],
    response_class=PlainTextResponse,
    responses={200: {"description": "In the Prometheus text format."}},
)
async def metrics(metrics: MetricsDependency) -> Response:
    """Return metrics for Prometheus: what all workers have done since the start, and what each has in hand now."""
    return Response(metrics.exposition(), media_type=METRICS_MEDIA_TYPE)
