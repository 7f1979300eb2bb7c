from __future__ import annotations

import asyncio
import time

import pytest

from app.errors import OverloadedError, RequestTimeoutError
from app.imaging.conversion import Mode
from app.predictor import Admission, Predictor
from app.settings import Settings
from tests.conftest import encoded
from tests.fakes import FirstPixelClassifier, tagged_image


def predictor(classifier: FirstPixelClassifier, **settings: float) -> Predictor:
    return Predictor(classifier, Settings.model_validate(settings), cores=2)


def test_the_answer_ranks_all_classes_and_says_what_was_done() -> None:
    answer = asyncio.run(
        predictor(FirstPixelClassifier()).predict(encoded(tagged_image(9)), "image/png", Mode.AUTO)
    ).model_dump()
    assert answer["prediction"] == {"class_id": 9, "label": "Ankle boot", "probability": pytest.approx(0.91)}
    assert [entry["class_id"] for entry in answer["probabilities"]] == list(range(10))
    assert answer["image"] == {"format": "PNG", "width": 28, "height": 28}
    assert answer["conversion"] == {"mode": "native", "steps": (), "garment": None}
    assert answer["model"] == {"name": "fake", "version": "7"}
    assert answer["preview"] is None


def test_a_burst_admits_exactly_the_limit_and_the_places_come_back() -> None:
    async def run() -> list[str]:
        service = predictor(FirstPixelClassifier(), max_pending_images=5)
        one = encoded(tagged_image(1))

        async def outcome() -> str:
            try:
                await service.predict(one, "image/png", Mode.AUTO)
            except OverloadedError:
                return "refused"
            return "answered"

        burst = await asyncio.gather(*(outcome() for _ in range(12)))
        return [*burst, await outcome()]

    outcomes = asyncio.run(run())
    assert outcomes[:12].count("answered") == 5
    assert outcomes[12] == "answered"


def test_a_passed_deadline_is_a_timeout_that_names_it() -> None:
    service = predictor(FirstPixelClassifier(lambda _: time.sleep(0.3)), request_timeout_seconds=0.05)
    with pytest.raises(RequestTimeoutError, match=r"within 0\.05 seconds"):
        asyncio.run(service.predict(encoded(tagged_image(1)), "image/png", Mode.AUTO))


def test_retry_after_is_what_waits_at_the_rate_measured_last() -> None:
    admission = Admission(limit=100)
    held = [admission.permit() for _ in range(100)]
    for permit in held:
        permit.__enter__()
    assert admission.retry_after_seconds == 1  # nothing is measured yet
    started = time.monotonic()
    for permit in held[:40]:
        time.sleep(0.05)
        permit.__exit__(None, None, None)
    # An estimate that starts at zero and moves a tenth at a time is at 98 % of the true rate after 40 pictures.
    expected = 60 * (time.monotonic() - started) / 40
    assert 0.5 * expected < admission.retry_after_seconds < 2 * expected + 1
