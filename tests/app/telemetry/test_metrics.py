from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from app import predictor
from app.main import create_app
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.telemetry.tally import CELLS, Tally
from tests.app.http.test_protocol import SOON_SECONDS, eventually
from tests.app.test_main import START_SECONDS, service
from tests.conftest import encoded
from tests.fakes import FirstPixelClassifier, HeldClassifier, make_card, tagged_image
from training.data import LABELS

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from numpy.typing import NDArray

    from training.data import Data

BOOT = encoded(tagged_image(9))
STRANGE = encoded(tagged_image(2, familiarity_percent=1))

GAUGES = ("fashion_pending_images", "fashion_worker_heartbeat_age_seconds", "process_resident_memory_bytes")

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """Read an exposition with the parser of `prometheus_client`."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def read(client: TestClient) -> Samples:
    response = client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return samples(response.text)


def of(found: Samples, name: str, /, **labels: str) -> float:
    """Sum the series that have this name and these labels."""
    return sum(value for (one, values), value in found.items() if one == name and labels.items() <= set(values))


def requests(found: Samples) -> dict[tuple[str, ...], float]:
    """Return the number of requests by method, handler and code."""
    ours = ((dict(labels), count) for (name, labels), count in found.items() if name == "http_requests_total")
    return {(labels["method"], labels["handler"], labels["code"]): count for labels, count in ours}


def test_after_known_requests_every_count_is_exact(client: TestClient) -> None:
    for picture in (BOOT, BOOT, STRANGE):
        client.post("/predict", content=picture)
    client.post("/predict", content=encoded(tagged_image(9), "BMP"), params={"conversion": "none"})
    client.post("/predict", content=b"no picture")
    client.post("/predict?conversion=magic", content=BOOT)
    client.post("/predict/batch", files=[("files", BOOT), ("files", b"no picture"), ("files", b"")])
    client.get("/classes")
    client.get("/nowhere/at/all")
    client.get("/web/answer.js")
    client.get("/static-offline-docs/swagger-ui.css")
    client.put("/predict")
    client.request("BREW", "/predict")
    found = read(client)

    assert requests(found) == {
        ("POST", "/predict", "200"): 4,
        ("POST", "/predict", "415"): 1,
        ("POST", "/predict", "422"): 1,
        ("POST", "/predict/batch", "200"): 1,
        ("GET", "/classes", "200"): 1,
        ("GET", "other", "404"): 1,
        ("GET", "/web/", "200"): 1,
        ("GET", "/static-offline-docs/", "200"): 1,
        ("other", "/predict", "405"): 2,
    }
    assert of(found, "http_request_duration_seconds_count", handler="/predict") == 8
    reasons = {"unsupported_media_type": 2, "invalid_image": 1, "invalid_request": 1, "not_found": 1}
    for reason, count in (reasons | {"method_not_allowed": 2, "internal": 0, "overloaded": 0}).items():
        assert of(found, "fashion_refusals_total", reason=reason) == count, reason
    assert of(found, "fashion_refusals_total") == 7
    assert of(found, "fashion_predictions_total", label="Ankle boot", familiar="true") == 4
    assert of(found, "fashion_predictions_total", label="Pullover", familiar="false") == 1
    assert {dict(labels)["label"] for name, labels in found if name == "fashion_predictions_total"} == set(LABELS)
    assert of(found, "fashion_familiarity_ratio_count") == 5
    assert of(found, "fashion_familiarity_ratio_sum") == pytest.approx(4 * 0.5 + 0.01)
    assert of(found, "fashion_familiarity_ratio_bucket", le="0.05") == 1
    assert of(found, "fashion_images_total", format="PNG", conversion="native") == 4
    assert of(found, "fashion_images_total", format="BMP", conversion="none") == 1
    # The picture with a refused query gets no stopwatch; a batch is received and serialised once for all its pictures.
    for stage, count in {"receive": 6, "decode": 8, "infer": 5, "serialise": 5}.items():
        assert of(found, "fashion_stage_duration_seconds_count", stage=stage) == count, stage
    assert of(found, "fashion_batch_images_count") == 5
    assert of(found, "fashion_batch_images_sum") == 5
    assert of(found, "fashion_workers") == of(found, "fashion_worker_starts_total") == 1
    assert of(found, "fashion_model_info", name="fake", version="7") == 1


def test_workers_that_count_alone_are_fewer_than_configured(classifier: FirstPixelClassifier) -> None:
    with TestClient(create_app(Settings(workers=2), classifier)) as client:
        found = read(client)
    assert (of(found, "fashion_workers"), of(found, "fashion_workers_configured")) == (1, 2)


def test_a_bucket_counts_values_up_to_its_bound_and_the_sum_adds_them_up() -> None:
    metrics = Metrics(Tally(), make_card(), Settings(), [])
    for images in (1, 2, 3, 32, 1000):
        metrics.forward_pass(images)
    found = samples(metrics.exposition().decode())
    for bound, count in {"1.0": 1, "2.0": 2, "4.0": 3, "128.0": 4, "+Inf": 5}.items():
        assert of(found, "fashion_batch_images_bucket", le=bound) == count, bound
    assert of(found, "fashion_batch_images_sum") == 1038


def test_an_internal_failure_is_counted_as_such(classifier: FirstPixelClassifier) -> None:
    def fail(_: NDArray[np.uint8]) -> None:
        raise RuntimeError

    classifier.before = fail
    with TestClient(create_app(Settings(), classifier)) as client:
        assert client.post("/predict", content=BOOT).status_code == 500
        found = read(client)
    assert of(found, "fashion_refusals_total", reason="internal") == 1
    assert of(found, "http_requests_total", code="500") == 1
    assert of(found, "fashion_predictions_total") == 0


def test_while_pictures_wait_the_gauges_say_how_many_and_how_long() -> None:
    held = HeldClassifier()
    app = create_app(Settings(max_pending_images=3), held)
    with TestClient(app) as client:
        with ThreadPoolExecutor(4) as callers:
            try:
                before = time.monotonic()
                callers.submit(client.post, "/predict", content=BOOT)
                assert held.entered.wait(SOON_SECONDS)
                since = time.monotonic()
                time.sleep(0.2)  # to tell the oldest from the newest
                for _ in range(2):
                    callers.submit(client.post, "/predict", content=BOOT)
                eventually(lambda: app.state.predictor.load().pending == 3)
                assert callers.submit(client.post, "/predict", content=BOOT).result(SOON_SECONDS).status_code == 503
                least = time.monotonic() - since
                found = read(client)
                most = time.monotonic() - before
            finally:
                held.release.set()
        after = read(client)
    assert of(found, "fashion_pending_images", worker="0") == of(found, "fashion_pending_images_limit") == 3
    assert of(found, "fashion_queue_images", worker="0") == 2
    assert least <= of(found, "fashion_pending_oldest_seconds") <= most
    assert of(found, "fashion_refusals_total", reason="overloaded") == 1
    assert of(after, "fashion_pending_images") == of(after, "fashion_pending_oldest_seconds") == 0


@pytest.mark.parametrize("stage", ["decode", "infer"])
def test_work_in_a_thread_shows_as_the_oldest_even_after_its_request_has_ended(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    classifier = FirstPixelClassifier(lambda _: hold(let_go) if stage == "infer" else None)
    if stage == "decode":
        monkeypatch.setattr(predictor, "convert", lambda *_: hold(let_go))
    large = encoded(np.zeros((400, 300), np.uint8))
    monkeypatch.setattr(predictor, "STUCK_SECONDS", 0.3)
    app = create_app(Settings(), classifier)
    with TestClient(app) as client:
        try:
            before = time.monotonic()
            late = client.post("/predict", content=large, headers={"X-Request-Timeout": "0.2"})
            assert late.status_code == 504
            since = time.monotonic()
            time.sleep(0.2)
            asked = time.monotonic()
            found = read(client)
            assert of(found, "fashion_pending_images") == 0
            oldest = of(found, "fashion_pending_oldest_seconds")
            assert asked - since - 0.1 < oldest < time.monotonic() - before
            eventually(app.state.predictor.is_stuck)
        finally:
            let_go.set()
        eventually(lambda: not app.state.predictor.is_stuck())
        assert of(read(client), "fashion_pending_oldest_seconds") == 0


def hold(until: threading.Event) -> None:
    assert until.wait(60)


def test_process_metrics_are_those_of_this_process(client: TestClient) -> None:
    found = read(client)
    assert 10e6 < of(found, "process_resident_memory_bytes", worker="0") < 10e9
    assert of(found, "process_cpu_seconds_total", worker="0") > 0
    assert of(found, "process_open_fds", worker="0") > 3
    assert abs(time.time() - of(found, "process_start_time_seconds", worker="0")) < 3600


def test_no_client_can_make_new_series(client: TestClient) -> None:
    for number in range(50):
        client.get(f"/{number}")
        client.get(f"/predict/{number}")
        client.request(f"M{number}", "/predict")
    assert requests(read(client)) == {("GET", "other", "404"): 100, ("other", "/predict", "405"): 50}


def test_all_metrics_fit_into_a_row() -> None:
    Metrics(Tally(), make_card(), Settings(), [f"/path/{number}" for number in range(16)])
    with pytest.raises(ValueError, match=f"expected at most {CELLS} cells"):
        Metrics(Tally(), make_card(), Settings(), [f"/path/{number}" for number in range(100)])


def test_two_workers_count_together_and_what_a_killed_one_counted_stays(data: Data) -> None:
    picture = encoded(data.test.images[0])
    with service(WORKERS=2, LOG_LEVEL="warning") as (supervisor, url):
        scrape_until(url, lambda found: of(found, "fashion_workers") == 2)
        assert_each_heartbeat_continues(url)
        answers = [httpx2.post(f"{url}/predict", content=picture) for _ in range(40)]
        assert {answer.status_code for answer in answers} == {httpx2.codes.OK}
        assert len({answer.content for answer in answers}) == 1  # whichever worker answers
        # An answer is counted after it is sent, and the other worker may be asked before that.
        found = scrape_until(url, lambda found: of(found, "http_requests_total", handler="/predict", code="200") == 40)
        assert of(found, "fashion_predictions_total") == of(found, "fashion_batch_images_sum") == 40
        assert [workers_with(found, name) for name in GAUGES] == [{"0", "1"}] * len(GAUGES)

        first, second = workers_of(supervisor)
        os.kill(first, signal.SIGKILL)
        found = scrape_until(url, lambda found: of(found, "fashion_workers") == 1)
        assert [len(workers_with(found, name)) for name in GAUGES] == [1] * len(GAUGES)
        assert of(found, "http_requests_total", handler="/predict", code="200") == 40

        found = scrape_until(url, lambda found: of(found, "fashion_workers") == 2)
        assert of(found, "fashion_worker_starts_total") == 3
        assert httpx2.post(f"{url}/predict", content=picture).status_code == httpx2.codes.OK
        scrape_until(url, lambda found: of(found, "http_requests_total", handler="/predict", code="200") == 41)

        os.kill(second, signal.SIGSTOP)
        try:  # the other worker reports it
            scrape_until(url, lambda found: of(found, "fashion_worker_heartbeat_age_seconds") > 1)
        finally:
            os.kill(second, signal.SIGCONT)


def assert_each_heartbeat_continues(url: str) -> None:
    """Ask one worker, which updates its own numbers, until the other has updated its own too."""
    scrape_until(url, lambda found: sum(age > 0 for age in heartbeat_ages(found)) == 2)
    began = time.monotonic()
    with httpx2.Client(timeout=START_SECONDS) as one_connection:

        def both_have_beaten_since() -> bool:
            passed = time.monotonic() - began
            return max(heartbeat_ages(samples(one_connection.get(f"{url}/metrics").text))) < passed

        eventually(both_have_beaten_since)


def heartbeat_ages(found: Samples) -> list[float]:
    """Return how long ago each worker's last heartbeat was; 0 if there has been none yet."""
    return [age for (name, _), age in found.items() if name == "fashion_worker_heartbeat_age_seconds"]


def workers_of(supervisor: subprocess.Popen[bytes]) -> list[int]:
    """Return the process ids of the workers, in the order in which they were started."""
    children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def scrape(url: str, timeout: float = START_SECONDS) -> Samples:
    return samples(httpx2.get(f"{url}/metrics", timeout=timeout).text)


def scrape_until(url: str, satisfied: Callable[[Samples], bool]) -> Samples:
    """Read the metrics until they are as expected, whichever worker answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(httpx2.TransportError):  # the connection went to the worker that was killed or suspended
            if satisfied(found := scrape(url, timeout=2)):
                return found
        time.sleep(0.02)
    pytest.fail("the metrics did not become so")


def workers_with(found: Samples, name: str) -> set[str]:
    return {dict(labels)["worker"] for one, labels in found if one == name}
