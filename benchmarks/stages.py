"""`python -m benchmarks.stages`: how much processor time does each stage of an answer take?"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
import timeit
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import structlog
import tensorflow as tf

from app.batching import MicroBatcher
from app.classifier import Answers, SavedModelClassifier
from app.errors import StartError
from app.http.forms import MULTIPART, Form, Upload
from app.imaging.conversion import Mode, convert
from app.imaging.decode import decode
from app.imaging.native import read_native
from app.model_card import IMAGE_SHAPE
from app.predictor import Predictor
from app.settings import Settings
from app.stages import STAGES, Stages
from app.telemetry.logs import configure_logging
from app.telemetry.metrics import Metrics
from app.telemetry.tally import Tally
from app.telemetry.trace import Trace
from benchmarks.serving.pictures import native_images, png
from training.command import positive
from training.machine import machine
from training.markdown import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from app.classifier import Classifier
    from app.model_card import ModelCard

BOUNDARY = "----benchmark"
SIZES = (1, 2, 4, 8, 16, 32)
SECONDS = 0.02
"""How long a round repeats a stage, so that the cost of reading the clock does not matter."""


class NoModel:
    """Answers at once, so that only the batcher's own time is measured."""

    def __init__(self, card: ModelCard, answers: Answers) -> None:
        """Set the answers, one row for each image of the largest batch."""
        self.card = card
        self._answers = answers

    def classify(self, images: NDArray[np.uint8]) -> Answers:
        """Return as many rows as there are images."""
        return Answers(*(of_all[: len(images)] for of_all in self._answers))

    def seconds(self, images: int) -> float:  # noqa: ARG002  any number
        """Return how long a batch takes: no time."""
        return 0.0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__)
    parser.add_argument("--model", type=Path, default=Settings().model_dir, metavar="FOLDER", help="the artifact")
    parser.add_argument(
        "--rounds", type=positive, default=15, metavar="N", help="how often each is timed (default: 15)"
    )
    given = parser.parse_args()
    try:
        classifier = SavedModelClassifier(given.model, SIZES, threads=1)
    except StartError as error:
        parser.error(str(error))
    timed = [*stages(classifier, SIZES), ("infer 1, by a concrete function", eager(given.model))]
    rows = [(name, f"{measure(stage, given.rounds):.1f}") for name, stage in timed]
    print(f"median of {given.rounds} rounds, {given.model}, one thread on {machine()}\n")
    print(table(("microseconds of processor time to", "median"), rows))


def stages(classifier: Classifier, sizes: Sequence[int]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the stages of answering a grey 28x28 picture, each with its name and a function to time."""
    (image,) = native_images(1)  # PNG would store noise without the filters that take time to undo
    picture, most = png(image), sizes[-1]
    body = _form(picture)
    settings = Settings()
    limit = settings.max_image_pixels
    decoded = decode(picture, "", limit)
    batch = np.stack([image] * most)
    idle = NoModel(classifier.card, classifier.classify(batch))
    idle_predictor = Predictor(idle, settings, 1)
    answer = asyncio.run(_predict(Predictor(classifier, settings, 1), picture, 1))
    yield "receive a form", lambda: _read(body)
    yield "read what is native", lambda: read_native(picture)
    yield "decode it like any other", lambda: decode(picture, "", limit)
    yield "convert it likewise", lambda: convert(decoded.pixels, Mode.AUTO)
    yield f"batch {most}, without the model", lambda: asyncio.run(_classify(idle, batch))
    for size in sizes:
        yield f"infer {size}", partial(classifier.classify, batch[:size])
    yield "serialise", lambda: orjson.dumps(answer)
    yield from _records(classifier, answer)
    yield (
        f"answer {most}, all but HTTP, without the model",
        lambda: asyncio.run(_predict(idle_predictor, picture, most)),
    )


def eager(artifact: Path) -> Callable[[], object]:
    """Return a function that classifies one image as TensorFlow's guide does, by a concrete function of eager mode."""
    loaded = tf.saved_model.load(str(artifact))
    signature, image = loaded.signatures["serving_default"], np.zeros((1, *IMAGE_SHAPE), np.uint8)

    def classify() -> object:
        return signature(images=tf.constant(image))["probabilities"].numpy()

    return classify


def measure(stage: Callable[[], object], rounds: int) -> float:
    """Return a stage's median processor time in microseconds, which other programs hardly affect."""
    stage()
    calls = max(1, round(SECONDS / max(timeit.timeit(stage, timer=time.process_time, number=1), 1e-6)))
    times = timeit.repeat(stage, timer=time.process_time, number=calls, repeat=rounds)
    return 1e6 / calls * float(np.median(times))


def _records(classifier: Classifier, answer: dict[str, Any]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the stages that count a request, log it, and show the metrics."""
    stopwatch = Stages()
    for stage in STAGES:
        stopwatch.end(stage)
    trace = Trace([stopwatch], [answer])
    metrics = Metrics(Tally(), classifier.card, Settings(), ["/predict"])
    yield "count", lambda: metrics.request("POST", "/predict", 200, 0.01, trace)
    line = {"method": "POST", "path": "/predict", "status": 200, "milliseconds": 12.34}
    for log_format in ("json", "console"):
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
            configure_logging(Settings.model_validate({"log_format": log_format}))
            logger = structlog.get_logger("app.http.tracing").bind(request_id="0" * 32)
            yield f"log as {log_format}", partial(_log, logger, line, trace)
    yield "show the metrics", metrics.exposition


def _log(logger: structlog.BoundLogger, line: dict[str, object], trace: Trace) -> None:
    logger.info("request", **line, **trace.facts())


def _form(picture: bytes) -> bytes:
    head = 'Content-Disposition: form-data; name="file"; filename="picture.png"\r\nContent-Type: image/png'
    return b"".join((f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode(), picture, f"\r\n--{BOUNDARY}--\r\n".encode()))


def _read(body: bytes) -> list[Upload]:
    form = Form(f"{MULTIPART}; boundary={BOUNDARY}", "file", 1)
    form.write(body)
    return form.uploads()


async def _classify(classifier: Classifier, images: NDArray[np.uint8]) -> None:
    batcher = MicroBatcher(classifier, len(images))
    await asyncio.gather(*map(batcher.classify, images))


async def _predict(predictor: Predictor, picture: bytes, times: int) -> dict[str, Any]:
    """Answer the same picture that many times at once, and return one answer."""
    answer, *_ = await asyncio.gather(*(predictor.predict(picture, "", Mode.AUTO) for _ in range(times)))
    return answer


if __name__ == "__main__":
    main()
