from __future__ import annotations

import asyncio
import time

import pytest
from PIL import Image

from app.errors import OverloadedError, RequestTimeoutError, StartError
from app.imaging.conversion import Mode
from app.predictor import Admission, Predictor
from app.settings import Settings
from tests.conftest import encoded
from tests.fakes import FirstPixelClassifier, tagged_image


def predictor(classifier: FirstPixelClassifier, **settings: float) -> Predictor:
    return Predictor(classifier, Settings.model_validate(settings), cores=2)


def test_the_answer_ranks_all_classes_and_says_what_was_done() -> None:
    answer = asyncio.run(predictor(FirstPixelClassifier()).predict(encoded(tagged_image(9)), "image/png", Mode.AUTO))
    assert answer["prediction"] == {"class_id": 9, "label": "Ankle boot", "probability": pytest.approx(0.91)}
    assert [entry["class_id"] for entry in answer["probabilities"]] == list(range(10))
    assert (answer["prediction_set"], answer["familiar"], answer["familiarity"]) == (
        ["Ankle boot", "T-shirt/top"],
        True,
        0.5,
    )
    assert answer["image"] == {"format": "PNG", "width": 28, "height": 28}
    assert answer["conversion"] == {"mode": "native", "steps": ()}
    assert answer["model"] == {"name": "fake", "version": "7"}
    assert "preview" not in answer


@pytest.mark.parametrize(("coverage", "labels"), [(0.9, ["Coat"]), (0.95, ["Coat", "Sandal"])])
def test_the_coverage_that_is_set_decides_how_long_the_prediction_set_is(coverage: float, labels: list[str]) -> None:
    service = predictor(FirstPixelClassifier(), coverage=coverage)
    answer = asyncio.run(service.predict(encoded(tagged_image(4)), "image/png", Mode.AUTO))
    assert answer["prediction_set"] == labels


def test_a_coverage_that_was_not_fitted_stops_the_start_with_those_that_were() -> None:
    with pytest.raises(StartError, match=r"^FASHION_COVERAGE: expected one of 0\.9, 0\.95, .* found 0\.8$"):
        predictor(FirstPixelClassifier(), coverage=0.8)


@pytest.mark.parametrize(("percent", "familiar"), [(0, False), (4, False), (6, True), (100, True)])
def test_what_is_less_familiar_than_the_card_s_threshold_is_called_so(percent: int, *, familiar: bool) -> None:
    image = encoded(tagged_image(4, percent))
    answer = asyncio.run(predictor(FirstPixelClassifier()).predict(image, "image/png", Mode.AUTO))
    assert answer["familiar"] == familiar
    assert answer["familiarity"] == pytest.approx(percent / 100)


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


def test_large_pictures_never_stall_small_ones_that_come_after() -> None:
    large, small = encoded(Image.new("RGB", (4000, 3000), "red")), encoded(tagged_image(4))

    async def run() -> tuple[list[int], int]:
        service = predictor(FirstPixelClassifier(), max_pending_images=10)
        waiting = [asyncio.create_task(service.predict(large, "image/png", Mode.AUTO)) for _ in range(4)]
        await asyncio.sleep(0)
        answers = [await service.predict(small, "image/png", Mode.AUTO) for _ in range(20)]
        done = sum(task.done() for task in waiting)
        await asyncio.gather(*waiting)
        return [answer["prediction"]["class_id"] for answer in answers], done

    class_ids, done = asyncio.run(run())
    assert class_ids == [4] * 20
    assert done < 4  # of four that would have been decoded one after the other
