from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from app.admission import Admission, Permit, work_of
from app.errors import OverloadedError, ServiceError, StartError
from app.http.pages import WEB
from app.imaging.conversion import Mode
from app.imaging.decode import RAW_BYTES, RAW_MEDIA_TYPE, Decoded, decode
from app.imaging.recognition import RECOGNISER, weigh
from app.model_card import read_verified
from app.predictor import Predictor
from app.settings import Settings
from app.stages import Stages
from tests.conftest import encoded
from tests.fakes import FirstPixelClassifier, HeldClassifier, tagged_image
from training.data import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.stages import Stage

SWEATER = WEB / "samples" / "sweater.jpg"


def predictor(classifier: FirstPixelClassifier, *, cores: int = 2, **settings: float) -> Predictor:
    return Predictor(classifier, Settings.model_validate(settings), cores)


def ask(service: Predictor, picture: bytes) -> asyncio.Task[dict[str, Any]]:
    return asyncio.create_task(service.predict(picture, "", Mode.AUTO))


def answer_to(
    picture: bytes, classifier: FirstPixelClassifier, mode: Mode = Mode.AUTO, coverage: float = 0.95
) -> dict[str, Any]:
    return asyncio.run(predictor(classifier, coverage=coverage).predict(picture, "", mode))


def test_the_answer_ranks_all_classes_and_says_what_was_done() -> None:
    answer = answer_to(encoded(tagged_image(9)), FirstPixelClassifier())
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
def test_the_configured_coverage_decides_how_long_the_prediction_set_is(coverage: float, labels: list[str]) -> None:
    answer = answer_to(encoded(tagged_image(4)), FirstPixelClassifier(), coverage=coverage)
    assert answer["prediction_set"] == labels


def test_the_most_probable_class_is_in_the_prediction_set_however_unsure_the_model_is_of_it() -> None:
    classifier = FirstPixelClassifier()
    strict = tuple(one.model_copy(update={"threshold": 0.99}) for one in classifier.card.prediction_sets)
    classifier.card = classifier.card.model_copy(update={"prediction_sets": strict})
    assert answer_to(encoded(tagged_image(4)), classifier)["prediction_set"] == ["Coat"]


@pytest.mark.parametrize(("threshold", "is_longer"), [(None, False), (0.0, True)])
def test_a_photograph_seen_in_colour_has_a_threshold_of_its_own(threshold: float | None, *, is_longer: bool) -> None:
    classifier = FirstPixelClassifier()
    sets = [one.model_copy(update={"photos_threshold": threshold}) for one in classifier.card.prediction_sets]
    classifier.card = classifier.card.model_copy(update={"prediction_sets": tuple(sets)})
    answer = answer_to(SWEATER.read_bytes(), classifier, Mode.PHOTO)
    assert "seen_in_colour" in answer["conversion"]["steps"]
    assert (len(answer["prediction_set"]) == 10) is is_longer
    assert answer_to(encoded(tagged_image(4)), classifier)["prediction_set"] == ["Coat", "Sandal"]


def test_a_coverage_that_was_not_fitted_stops_the_start_naming_those_that_were() -> None:
    with pytest.raises(StartError, match=r"^FASHION_COVERAGE: expected one of 0\.9, 0\.95, .* found 0\.8$"):
        predictor(FirstPixelClassifier(), coverage=0.8)


@pytest.mark.parametrize(("percent", "familiar"), [(0, False), (4, False), (6, True), (100, True)])
def test_a_picture_less_familiar_than_the_card_s_threshold_is_called_unfamiliar(
    percent: int, *, familiar: bool
) -> None:
    answer = answer_to(encoded(tagged_image(4, percent)), FirstPixelClassifier())
    assert answer["familiar"] == familiar
    assert answer["familiarity"] == pytest.approx(percent / 100)


def test_a_picture_exactly_at_the_threshold_is_familiar() -> None:
    classifier = FirstPixelClassifier()
    half = classifier.card.familiarity.model_copy(update={"threshold": 0.5})  # which float32 holds exactly, unlike 0.05
    classifier.card = classifier.card.model_copy(update={"familiarity": half})
    assert answer_to(encoded(tagged_image(4, 50)), classifier)["familiar"]


def test_a_burst_admits_exactly_the_limit_and_the_places_are_given_back() -> None:
    async def run() -> list[str]:
        service = predictor(FirstPixelClassifier(), max_pending_images=5)
        one = encoded(tagged_image(1))

        async def outcome() -> str:
            try:
                await ask(service, one)
            except OverloadedError:
                return "refused"
            return "answered"

        burst = await asyncio.gather(*(outcome() for _ in range(12)))
        return [*burst, await outcome()]

    outcomes = asyncio.run(run())
    assert outcomes[:12].count("answered") == 5
    assert outcomes[12] == "answered"


@pytest.mark.parametrize(
    ("most_seconds", "picture", "is_refused"),
    [
        (0.2, encoded(tagged_image(1)), True),
        (2.5, encoded(tagged_image(1)), False),
        (2.5, encoded(Image.new("RGB", (300, 400), "red")), True),
        (5.0, encoded(Image.new("RGB", (1000, 1000)), "WEBP", lossless=True), True),
    ],
    ids=["a small one", "a small one, more patiently", "a photograph, which is more work", "few bytes of many pixels"],
)
def test_a_picture_is_refused_behind_more_work_than_the_settings_allow(
    most_seconds: float, picture: bytes, *, is_refused: bool
) -> None:
    service = predictor(FirstPixelClassifier(lambda _: time.sleep(0.3)), max_queue_seconds=most_seconds)

    async def run() -> list[str]:
        for _ in range(2):  # longer than FIRST_SECONDS, so that the rate is known
            await ask(service, encoded(tagged_image(1)))
        tasks = (ask(service, picture) for _ in range(2))
        return [str(outcome) for outcome in await asyncio.gather(*tasks, return_exceptions=True)]

    first, second = asyncio.run(run())
    assert "seconds of work" not in first
    assert ("seconds of work" in second) == is_refused


@pytest.mark.parametrize(
    "refused",
    [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\0\0\0\0", bytes(10_000_000)],
    ids=["more pixels than any", "ten megabytes of nothing"],
)
def test_a_file_refused_by_its_first_bytes_counts_as_no_work_for_those_behind_it(refused: bytes) -> None:
    service = predictor(FirstPixelClassifier(lambda _: time.sleep(0.3)), max_queue_seconds=15)

    async def run() -> list[type]:
        for _ in range(2):  # longer than FIRST_SECONDS, so that the rate is known
            await ask(service, encoded(tagged_image(1)))
        tasks = (ask(service, one) for one in (refused, encoded(tagged_image(1))))
        return [type(outcome) for outcome in await asyncio.gather(*tasks, return_exceptions=True)]

    first, second = asyncio.run(run())
    assert issubclass(first, ServiceError)
    assert not issubclass(first, OverloadedError)
    assert second is dict


def test_a_picture_cancelled_while_it_waits_for_a_thread_is_never_decoded_and_frees_its_place() -> None:
    # The first takes long, so that the others are cancelled before the thread gets to them.
    sizes = [(6000, 5000), *((2000 + number, 1500) for number in range(4))]
    photographs = [encoded(Image.new("RGB", size, "red")) for size in sizes]
    service = predictor(FirstPixelClassifier(), max_pending_images=5, cores=1)
    decoded: list[Stages] = []

    class Noted(Stages):
        """Records which pictures got a thread: the first stage to end is the wait for one."""

        def end(self, stage: Stage, at: float | None = None) -> None:
            decoded.append(self)
            super().end(stage, at)

    async def run() -> int:
        stages = [Noted() for _ in photographs]
        tasks = [
            asyncio.create_task(service.predict(picture, "image/png", Mode.AUTO, stages=one))
            for picture, one in zip(photographs, stages, strict=True)
        ]
        await asyncio.sleep(0)
        for task in tasks[2:]:
            task.cancel()
        await asyncio.gather(*tasks[:2])
        await ask(service, encoded(tagged_image(1)))
        with pytest.raises(OverloadedError):
            await asyncio.gather(*(ask(service, photographs[1]) for _ in range(6)))
        return sum(one in decoded for one in stages)

    assert asyncio.run(run()) == 2


def test_a_picture_cancelled_while_it_waits_for_a_thread_leaves_nothing_in_the_queue() -> None:
    first, photograph = (encoded(Image.new("RGB", (3000, 2000), colour)) for colour in ("blue", "red"))
    service = predictor(FirstPixelClassifier(), cores=1)

    async def run() -> int:
        busy = ask(service, first)
        await asyncio.sleep(0)
        before = sys.getrefcount(photograph)
        waiting = [ask(service, photograph) for _ in range(10)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        del task, waiting  # their exceptions hold the frames in which they were raised
        assert not busy.done()
        more = sys.getrefcount(photograph) - before
        await busy
        return more

    assert asyncio.run(run()) <= 0


def test_a_picture_cancelled_while_it_waits_for_its_batch_is_not_computed() -> None:
    held = HeldClassifier()

    async def run() -> None:
        service = predictor(held)
        # They share a pass, since one turn of the loop brings both.
        first = [ask(service, encoded(tagged_image(tag))) for tag in (0, 1)]
        await held.begins()
        dropped, last = (ask(service, encoded(tagged_image(tag))) for tag in (5, 6))
        await asyncio.sleep(0)
        assert service.load().queued == 2
        dropped.cancel()
        held.release.set()
        await asyncio.gather(*first, last)

    asyncio.run(run())
    assert held.seen_classes == [[0, 1], [6]]


def test_large_pictures_never_stall_small_ones_that_come_after() -> None:
    large, small = encoded(Image.new("RGB", (4000, 3000), "red")), encoded(tagged_image(4))

    async def run() -> tuple[list[int], int]:
        service = predictor(FirstPixelClassifier(), max_pending_images=10)
        waiting = [ask(service, large) for _ in range(4)]
        await asyncio.sleep(0)
        answers = [await ask(service, small) for _ in range(20)]
        done = sum(task.done() for task in waiting)
        await asyncio.gather(*waiting)
        return [answer["prediction"]["class_id"] for answer in answers], done

    class_ids, done = asyncio.run(run())
    assert class_ids == [4] * 20
    assert done < 4  # the small ones did not wait for all of the large ones


@pytest.mark.parametrize(
    ("changed", "mode", "is_seen"),
    [
        (lambda picture: picture, Mode.AUTO, True),
        (lambda picture: picture, Mode.NONE, False),
        (lambda picture: picture.convert("L"), Mode.AUTO, True),
        (lambda picture: picture.convert("L").convert("RGB"), Mode.AUTO, True),
    ],
    ids=["a photograph", "only resized", "grey", "grey, written in three channels"],
)
def test_the_colours_of_a_photograph_weigh_in_the_answer(
    changed: Callable[[Image.Image], Image.Image], mode: Mode, *, is_seen: bool
) -> None:
    classifier = FirstPixelClassifier()
    with Image.open(SWEATER) as opened:
        picture = changed(opened.copy())
    answer = answer_to(encoded(picture), classifier, mode)
    said = classifier.classify(classifier.seen[0]).probabilities[0]
    evidence = RECOGNISER.look_at(np.asarray(picture.convert("RGB")).copy()) if is_seen else None
    assert ("seen_in_colour" in answer["conversion"]["steps"]) is is_seen
    weighed = [entry["probability"] for entry in answer["probabilities"]]
    assert weighed == pytest.approx(
        weigh(said, evidence, 1).tolist(), rel=0.2, abs=0.01
    )  # the service reduces the pixels in two steps
    assert (weighed == said.tolist()) is not is_seen
    assert answer["prediction"]["probability"] == max(weighed)


def test_a_model_with_other_classes_answers_for_a_photograph_by_itself() -> None:
    classifier = FirstPixelClassifier()
    classifier.card = classifier.card.model_copy(update={"labels": tuple(f"class {i}" for i in range(10))})
    answer = answer_to(SWEATER.read_bytes(), classifier, Mode.PHOTO)
    assert "seen_in_colour" not in answer["conversion"]["steps"]
    said = classifier.classify(classifier.seen[0]).probabilities[0]
    assert [entry["probability"] for entry in answer["probabilities"]] == said.tolist()


@pytest.mark.parametrize("cores", [1, 3])
def test_as_many_pictures_are_decoded_at_a_time_as_there_are_cores(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, all_at_work = set[int](), threading.Barrier(cores)

    def decode_together(data: bytes, media_type: str, max_image_pixels: int) -> Decoded:
        threads.add(threading.get_ident())
        all_at_work.wait(10)
        return decode(data, media_type, max_image_pixels)

    monkeypatch.setattr("app.predictor.decode", decode_together)
    service, picture = predictor(FirstPixelClassifier(), cores=cores), encoded(Image.new("RGB", (90, 90), "red"))

    async def run() -> None:
        await asyncio.gather(*(ask(service, picture) for _ in range(9)))

    asyncio.run(run())
    assert len(threads) == cores


def test_a_photograph_is_weighed_at_the_temperature_on_the_card() -> None:
    def probabilities(temperature: float) -> np.ndarray:
        classifier = FirstPixelClassifier()
        shipped = read_verified(Settings().model_dir).photos
        assert shipped
        photos = shipped.model_copy(update={"temperature": temperature})
        classifier.card = classifier.card.model_copy(update={"photos": photos})
        answer = answer_to(SWEATER.read_bytes(), classifier)
        return np.array([entry["probability"] for entry in answer["probabilities"]])

    bag = LABELS.index("Bag")
    once, twice = (np.delete(probabilities(temperature), bag) for temperature in (1, 2))
    np.testing.assert_allclose(twice**2 / (twice**2).sum(), once / once.sum(), rtol=1e-4)
    assert twice.max() < once.max()


def test_raw_pixels_converted_as_a_photograph_count_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[float] = []
    permit = Admission.permit

    def noting(admission: Admission, work: float, certain: float) -> Permit:
        taken.append(work)
        return permit(admission, work, certain)

    monkeypatch.setattr(Admission, "permit", noting)
    pixels = bytes(RAW_BYTES - 1) + b"\xff"
    asyncio.run(predictor(FirstPixelClassifier()).predict(pixels, RAW_MEDIA_TYPE, Mode.PHOTO))
    assert taken == [work_of(RAW_BYTES)]


def test_a_catalogue_picture_is_not_seen_in_colour_even_if_it_is_converted_as_a_photograph() -> None:
    pale = Image.new("RGB", (200, 200), "white")
    pale.paste((250, 252, 255), (60, 40, 140, 160))
    answer = answer_to(encoded(pale), FirstPixelClassifier())
    assert answer["conversion"]["mode"] == "photo"
    assert "seen_in_colour" not in answer["conversion"]["steps"]


def test_retry_after_is_at_most_the_request_timeout() -> None:
    slow = FirstPixelClassifier(lambda _: time.sleep(0.6))
    service = predictor(slow, request_timeout_seconds=2, max_pending_images=20, max_queue_seconds=1000)
    one = encoded(tagged_image(1))

    async def run() -> BaseException | object:
        await ask(service, one)  # after this the rate is known
        asked = (ask(service, one) for _ in range(21))
        *_, last = await asyncio.gather(*asked, return_exceptions=True)
        return last

    refused = asyncio.run(run())
    assert isinstance(refused, OverloadedError)
    assert refused.retry_after_seconds == 2


def test_work_that_a_thread_continues_after_its_client_left_counts_as_the_oldest() -> None:
    held = HeldClassifier()
    service = predictor(held)

    async def run() -> None:
        began = time.monotonic()
        given_up = ask(service, encoded(tagged_image(1)))
        await held.begins()
        given_up.cancel()
        since = time.monotonic()
        later = ask(service, encoded(tagged_image(2)))
        await asyncio.sleep(0)
        load = service.load()
        held.release.set()
        await later
        assert load.pending == 1
        assert load.oldest
        assert began <= load.oldest <= since

    asyncio.run(run())


def test_a_stuck_forward_pass_is_noticed_even_if_another_picture_has_just_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = HeldClassifier()
    monkeypatch.setattr("app.predictor.STUCK_SECONDS", 0.2)
    monkeypatch.setattr("app.predictor.decode", lambda *_: held.release.wait(60))
    service = predictor(held)

    async def run() -> bool:
        first = ask(service, encoded(tagged_image(1)))
        await held.begins()
        await asyncio.sleep(0.25)
        second = ask(service, encoded(Image.new("RGB", (90, 90))))
        await asyncio.sleep(0.05)
        stuck = service.is_stuck()
        held.release.set()
        await asyncio.gather(first, second, return_exceptions=True)
        return stuck

    assert asyncio.run(run())
