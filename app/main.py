"""The composition root: the only place that builds the service."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from uvicorn.config import STARTUP_FAILURE

from app import __version__
from app.cores import cores_of_a_worker
from app.direct import DirectPredict
from app.errors import StartError
from app.http import key_guard, pages, problems, tracing
from app.http.cross_site import CrossSiteGuard
from app.http.head import HeadAsGet
from app.http.key_guard import KeyGuard
from app.http.keys import read_keys
from app.http.tracing import HEADER, RequestTracing
from app.http.uploads import BodyBudget
from app.predictor import Predictor, load_classifier
from app.routes import router
from app.settings import read_settings
from app.telemetry.logs import configure_logging
from app.telemetry.metrics import Metrics
from app.telemetry.tally import Tally

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from fastapi import FastAPI

    from app.classifier import Classifier
    from app.settings import Settings

logger = logging.getLogger(__name__)

OPENAPI, WEB, SWAGGER = "/openapi.json", "/web", "/static-offline-docs"

GARBAGE_OBJECTS = 20_000
"""How many new objects trigger the garbage collector. At Python's 700 it runs every few requests, takes 3% of a
worker's time and finds nothing, since an answered request leaves no cyclic garbage."""


def create_app(settings: Settings, classifier: Classifier, tally: Tally | None = None) -> FastAPI:
    """Build the service around a loaded classifier.

    Args:
        settings: Limits and deadlines.
        classifier: A loaded classifier, so that nothing can fail once the service listens.
        tally: Counts that the workers share; None for a tally of this process alone.

    Raises:
        StartError: The settings do not fit the model, or the configured key file provides no valid keys.
    """
    paths = [*(route.path for route in router.routes if isinstance(route, APIRoute)), OPENAPI]
    card = classifier.card
    # What may refuse to start comes before the tally is joined, which counts the workers that have become ready.
    card.sets_for(settings.coverage)
    keys = read_keys(settings.api_keys_file) if settings.api_keys_file else None
    metrics = Metrics(tally or Tally(), card, settings, [*paths, WEB + "/", SWAGGER + "/"])
    predictor = Predictor(classifier, settings, cores_of_a_worker(settings), metrics.forward_pass)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
        app.openapi()  # kept, since generating it would hold up requests
        # TensorFlow leaves so many objects that a full collection would stop the event loop for 0.1 to 0.2 seconds.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_OBJECTS)
        watching = asyncio.create_task(metrics.watch(predictor.load))
        app.state.ready = True
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        logger.info("ready on http://%s:%d with %s %s", host, settings.port, card.name, card.version)
        yield {"service": app.state}  # for `app.processes.drain` and `app.http.protocol`
        app.state.ready = False
        watching.cancel()
        predictor.close()

    app = FastAPIOffline(
        title="Fashion-MNIST service",
        version=__version__,
        description="Send a picture of a garment; get its class with ten probabilities. [Try it on a page](.), or see "
        "[how far to trust it](model).",
        openapi_url=OPENAPI,
        static_url=SWAGGER,
        docs_url=None,  # `app.routes` serves its own page, with the static files from here
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # FastAPI's looks for providers on each request
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,  # generated clients name their methods after it
        redirect_slashes=False,  # an unknown path is 404, and no client is sent elsewhere with picture and key
    )
    app.state.settings = settings
    app.state.predictor = predictor
    app.state.body_budget = BodyBudget(settings.max_pending_bytes)
    app.state.metrics = metrics
    app.state.ready = False
    app.include_router(router)
    app.mount(WEB, pages.FILES)
    problems.install(app, paths)
    # The middleware added last runs first.
    app.add_middleware(HeadAsGet)
    app.add_middleware(DirectPredict, predictor=predictor, settings=settings)
    if keys:
        app.add_middleware(KeyGuard, keys=keys)
    origins = [origin.strip() for origin in settings.cors_origins.split(",")] if settings.cors_origins else []
    if "*" not in origins:
        app.add_middleware(CrossSiteGuard, origins=origins)
    app.add_middleware(RequestTracing, metrics=metrics)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", HEADER.decode(), "X-Request-Timeout"],
            expose_headers=["Retry-After", "Server-Timing", HEADER.decode()],
        )
    _complete_document(app, [*([key_guard.document] if keys else []), tracing.document])
    return app


def _complete_document(app: FastAPI, additions: Sequence[Callable[[dict[str, Any]], None]]) -> None:
    """Have additions made to the API document when it is generated: as the service starts, or a test asks for it."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            for add in additions:
                add(generate())
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it


def app_from_environment(tally: Tally | None = None) -> FastAPI:
    """Build the service from the environment, in each worker; the workers share the tally.

    Raises:
        SystemExit: It cannot start. The log says why, and the exit code tells the supervisor, which stops all workers
            unless the service has already started.
    """
    try:
        settings = read_settings()
        configure_logging(settings)
        classifier = load_classifier(settings, cores_of_a_worker(settings))
        return create_app(settings, classifier, tally)
    except StartError as error:
        logger.error("cannot start: %s", error)  # noqa: TRY400  the message says it all
        sys.exit(STARTUP_FAILURE)
