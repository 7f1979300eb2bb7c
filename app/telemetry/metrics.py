"""Counts what the service does, for `GET /metrics`."""

from __future__ import annotations

import asyncio
import platform
import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from app import __version__
from app.cores import worker_count
from app.errors import kinds
from app.imaging.decode import FORMATS, RAW_FORMAT
from app.stages import STAGES
from app.telemetry.series import OTHER, Cells, Counter, Histogram
from app.telemetry.tally import JOINS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from app.model_card import ModelCard
    from app.predictor import Load
    from app.settings import Settings
    from app.telemetry.tally import Living, Tally
    from app.telemetry.trace import Trace

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What `generate_latest` writes."""

METHODS = ("GET", "HEAD", "OPTIONS", "POST")
CODES = {0: "none"} | {status.value: str(status.value) for status in HTTPStatus}
CONVERSIONS = ("native", "cut_out", "bright_on_black", "catalogue", "photo", "none")
SECONDS = (
    *(0.00001, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
BATCHES = tuple(float(2**exponent) for exponent in range(8))
FAMILIARITY = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

HEARTBEAT, PENDING, OLDEST, QUEUED = range(JOINS + 1, JOINS + 5)
"""Cells for the current state of a worker; times are by `time.monotonic`, which all processes of a machine share."""

REFRESH_SECONDS = 0.25


class Metrics:
    """The one place that counts; each worker has an instance, and each can report for all workers.

    Counting happens only on the event loop, and takes 3 microseconds for everything that is counted of a picture
    (`python -m benchmarks.stages`). `prometheus_client` only formats the result: its own counters take locks, and its
    multiprocess files need a folder, stay there, and grow in number with every worker that is replaced.
    """

    def __init__(self, tally: Tally, card: ModelCard, settings: Settings, paths: Sequence[str]) -> None:
        """Join the tally, and assign its cells to the metrics.

        Args:
            tally: Holds the numbers; shared by the workers.
            card: Card of the served model, with the labels.
            settings: Settings of the service, with the limits.
            paths: Every path that the service knows; one that ends with a slash is a mounted folder.
        """
        self._tally = tally
        self._card = card
        self._settings = settings
        handlers = (*paths, OTHER)  # the same order in every process, so that a cell means the same in all of them
        self._paths = frozenset(paths)
        row = tally.join()
        self._row = row
        for cell in range(HEARTBEAT, QUEUED + 1):
            row[cell] = 0.0  # a dead worker may have left values there
        self._load: Callable[[], Load] | None = None
        cells = Cells(row, QUEUED + 1)
        self._requests = Counter(
            cells,
            "http_requests",
            "Requests answered, by status code; none is a client that hung up before.",
            {
                "method": (*METHODS, OTHER),
                "handler": handlers,
                "code": (*CODES.values(), OTHER),
            },
        )
        self._durations = Histogram(
            cells,
            "http_request_duration_seconds",
            "From a request's head to the last byte of its answer handed on.",
            SECONDS,
            ("handler", handlers),
        )
        self._stages = Histogram(
            cells,
            "fashion_stage_duration_seconds",
            "Where the time of a picture goes; queue is all that it waits.",
            SECONDS,
            ("stage", STAGES),
        )
        self._batches = Histogram(cells, "fashion_batch_images", "Pictures that shared a forward pass.", BATCHES)
        self._refusals = Counter(
            cells,
            "fashion_refusals",
            "Problems answered with, by code, those of single pictures in a batch included.",
            {"reason": (*(kind.code for kind in kinds()), "not_found", "method_not_allowed")},
        )
        self._predictions = Counter(
            cells,
            "fashion_predictions",
            "Pictures answered, by the most probable label and by whether they were familiar.",
            {"label": card.labels, "familiar": ("true", "false")},
        )
        self._familiarity = Histogram(
            cells,
            "fashion_familiarity_ratio",
            "Share of Fashion-MNIST images that are less typical than a picture: even where pictures are like those.",
            FAMILIARITY,
        )
        self._images = Counter(
            cells,
            "fashion_images",
            "Pictures answered, by file format and by how they became 28x28.",
            {"format": (*FORMATS, RAW_FORMAT), "conversion": CONVERSIONS},
        )

    def request(self, method: str, path: str, status: int, seconds: float, trace: Trace) -> None:
        """Count a finished request, with its pictures and problems.

        Args:
            method: As the client wrote it.
            path: Path of the request.
            status: Status of the answer; 0 if none reached the client.
            seconds: How long the request took.
            trace: Trace of the request.
        """
        handler = path if path in self._paths else self._folder(path)
        self._requests.add(method if method in METHODS else OTHER, handler, CODES.get(status, OTHER))
        self._durations.observe(seconds, handler)
        for problem in trace.problems:
            self._refusals.add(problem)
        for stages in trace.stages:
            for stage, duration in stages.timed():
                self._stages.observe(duration, stage)
        for answer in trace.answers:
            self._predictions.add(answer["prediction"]["label"], "true" if answer["familiar"] else "false")
            self._familiarity.observe(answer["familiarity"])
            self._images.add(answer["image"]["format"], answer["conversion"]["mode"])

    def refused(self, problem: str) -> None:
        """Count, by its code, a problem that `app.http.protocol` sent in place of the app."""
        self._refusals.add(problem)

    def forward_pass(self, images: int) -> None:
        """Count a forward pass over a number of pictures."""
        self._batches.observe(images)

    async def watch(self, load: Callable[[], Load]) -> None:
        """Publish the load and heartbeat of this worker for all workers to read, until cancelled."""
        self._load = load
        while True:
            self._refresh()
            await asyncio.sleep(REFRESH_SECONDS)

    def exposition(self) -> bytes:
        """Return all metrics of all workers in Prometheus' text format, `MEDIA_TYPE`."""
        self._refresh()
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics for `prometheus_client`."""
        living = self._tally.living()  # first: a living worker has already been counted as started
        totals = self._tally.totals()
        yield self._requests.family(totals, zeros=False)
        yield self._durations.family(totals, zeros=False)
        yield self._stages.family(totals, zeros=True)
        yield self._batches.family(totals, zeros=True)
        yield self._refusals.family(totals, zeros=True)
        yield self._predictions.family(totals, zeros=True)
        yield self._familiarity.family(totals, zeros=True)
        yield self._images.family(totals, zeros=False)
        yield CounterMetricFamily("fashion_worker_starts", "Workers that have loaded the model.", value=totals[JOINS])
        yield from self._of_workers(living)
        yield GaugeMetricFamily(
            "fashion_pending_images_limit",
            "Most pictures that a worker takes on.",
            value=self._settings.max_pending_images,
        )
        yield GaugeMetricFamily(
            "fashion_workers_configured", "Workers that are to be.", value=worker_count(self._settings)
        )
        model = {"name": self._card.name, "version": self._card.version}
        yield InfoMetricFamily("fashion_model", "The model that is served.", model)
        build = {"version": __version__, "python_version": platform.python_version()}
        yield InfoMetricFamily("fashion_build", "What serves it.", build)

    def _of_workers(self, living: Living) -> Iterator[Metric]:
        """Yield the current state of each living worker."""
        now = time.monotonic()
        yield GaugeMetricFamily("fashion_workers", "Workers that are ready.", value=len(living))
        rows = {str(worker): row for worker, (_, row) in living.items()}
        for name, documentation, cell in (
            ("fashion_pending_images", "Pictures taken on and not yet answered.", PENDING),
            ("fashion_queue_images", "Those ready for the model, waiting for the next forward pass.", QUEUED),
        ):
            yield _by_worker(name, documentation, {worker: row[cell] for worker, row in rows.items()})
        for name, documentation, cell in (
            ("fashion_pending_oldest_seconds", "How long ago the first picture in hand was taken on.", OLDEST),
            ("fashion_worker_heartbeat_age_seconds", "How long ago the event loop last turned.", HEARTBEAT),
        ):
            ages = {worker: max(0.0, now - row[cell]) if row[cell] else 0.0 for worker, row in rows.items()}
            yield _by_worker(name, documentation, ages)
        yield from _processes({str(worker): pid for worker, (pid, _) in living.items()})

    def _folder(self, path: str) -> str:
        """Return the mounted folder that contains a path, else `OTHER`."""
        folder = path[: path.find("/", 1) + 1]
        return folder if folder in self._paths else OTHER

    def _refresh(self) -> None:
        if self._load:
            load, row = self._load(), self._row
            row[PENDING], row[OLDEST], row[QUEUED] = load.pending, load.oldest or 0.0, load.queued
            row[HEARTBEAT] = time.monotonic()


def _by_worker(name: str, documentation: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=["worker"])
    for worker, value in values.items():
        family.add_metric([worker], float(value))
    return family


def _processes(workers: Mapping[str, int]) -> Iterator[Metric]:
    """Yield the standard process metrics of each worker; none on systems without /proc."""
    families: dict[str, Metric] = {}
    for worker, pid in workers.items():
        for one in ProcessCollector(pid=partial(int, pid), registry=None).collect():
            family = families.setdefault(one.name, Metric(one.name, one.documentation, one.type))
            for sample in one.samples:
                family.add_sample(sample.name, {"worker": worker}, sample.value)
    yield from families.values()
