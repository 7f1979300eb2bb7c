"""The composition root: the only place that builds things."""

from __future__ import annotations

import gc
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi_offline import FastAPIOffline
from uvicorn.config import STARTUP_FAILURE

from app import __version__, pages, problems
from app.batching import batch_sizes
from app.classifier import SavedModelClassifier
from app.cores import cores_of_a_worker
from app.direct import DirectPredict
from app.errors import StartError
from app.logs import configure_logging
from app.predictor import Predictor
from app.routes import router
from app.settings import read_settings
from app.tracing import RequestTracing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI
    from starlette.datastructures import State

    from app.classifier import Classifier
    from app.settings import Settings


def create_app(settings: Settings, classifier: Classifier) -> FastAPI:
    """Build the service around a loaded classifier.

    Args:
        settings: Limits and deadlines.
        classifier: What computes; loaded, so that nothing can fail once the service listens.

    Raises:
        StartError: The settings do not fit the model.
    """
    predictor = Predictor(classifier, settings, cores_of_a_worker(settings))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, State]]:
        # TensorFlow leaves so many objects that a full collection would stop the event loop for 0.1 to 0.2 seconds.
        gc.collect()
        gc.freeze()
        app.state.ready = True
        yield {"service": app.state}  # to `app.drain`, which ends the readiness before the service
        app.state.ready = False
        predictor.close()

    app = FastAPIOffline(
        title="Fashion-MNIST service",
        version=__version__,
        description="Send a picture of a garment; get its class with ten probabilities. [Try it on a page](.), or see "
        "[how far to trust it](model).",
        docs_url=None,  # `app.routes` has its own, and takes what it needs from here
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # FastAPI's looks for providers at each request
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.predictor = predictor
    app.state.ready = False
    app.include_router(router)
    app.mount("/web", pages.WebFiles(directory=pages.WEB))
    app.add_middleware(RequestTracing)
    problems.install(app)
    app.middleware_stack = DirectPredict(app.build_middleware_stack(), predictor, settings)
    return app


def app_from_environment() -> FastAPI:
    """Build the service as the environment describes it; uvicorn calls this in each worker.

    Raises:
        SystemExit: It cannot start; the reason stands in one line on standard error, and uvicorn stops all workers.
    """
    try:
        settings = read_settings()
        configure_logging(settings)
        classifier = SavedModelClassifier(
            settings.model_dir,
            batch_sizes(settings.max_forward_images),
            settings.threads or cores_of_a_worker(settings),
        )
        return create_app(settings, classifier)
    except StartError as error:
        print(f"fashion-mnist-service: {error}", file=sys.stderr)
        sys.exit(STARTUP_FAILURE)
