"""The composition root: the only place that builds things."""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from uvicorn.config import STARTUP_FAILURE

from app import __version__, pages, problems
from app.batching import batch_sizes
from app.classifier import SavedModelClassifier
from app.cores import cores_of_a_worker
from app.direct import DirectPredict
from app.errors import StartError
from app.logs import configure_logging
from app.metrics import Metrics
from app.predictor import Predictor
from app.routes import router
from app.settings import read_settings
from app.tally import Tally
from app.tracing import RequestTracing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from app.classifier import Classifier
    from app.settings import Settings

OPENAPI, WEB = "/openapi.json", "/web"


def create_app(settings: Settings, classifier: Classifier, tally: Tally | None = None) -> FastAPI:
    """Build the service around a loaded classifier.

    Args:
        settings: Limits and deadlines.
        classifier: What computes; loaded, so that nothing can fail once the service listens.
        tally: Where the workers count together; None for one of its own.

    Raises:
        StartError: The settings do not fit the model.
    """
    paths = [*(route.path for route in router.routes if isinstance(route, APIRoute)), OPENAPI, WEB + "/"]
    metrics = Metrics(tally or Tally(), classifier.card, settings, paths)
    predictor = Predictor(classifier, settings, cores_of_a_worker(settings), metrics.forward_pass)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # TensorFlow leaves so many objects that a full collection would stop the event loop for 0.1 to 0.2 seconds.
        gc.collect()
        gc.freeze()
        watching = asyncio.create_task(metrics.watch(predictor.load))
        app.state.ready = True
        yield
        app.state.ready = False
        watching.cancel()
        predictor.close()

    app = FastAPIOffline(
        title="Fashion-MNIST service",
        version=__version__,
        description="Send a picture of a garment; get its class with ten probabilities. [Try it on a page](.), or see "
        "[how far to trust it](model).",
        openapi_url=OPENAPI,
        docs_url=None,  # `app.routes` has its own, and takes what it needs from here
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.predictor = predictor
    app.state.metrics = metrics
    app.state.ready = False
    app.include_router(router)
    app.mount(WEB, pages.WebFiles(directory=pages.WEB))
    app.add_middleware(RequestTracing, metrics=metrics)
    problems.install(app)
    app.middleware_stack = DirectPredict(app.build_middleware_stack(), predictor, settings, metrics)
    return app


def app_from_environment(tally: Tally | None = None) -> FastAPI:
    """Build the service as the environment describes it, in each worker, which count together.

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
        return create_app(settings, classifier, tally)
    except StartError as error:
        print(f"fashion-mnist-service: {error}", file=sys.stderr)
        sys.exit(STARTUP_FAILURE)
