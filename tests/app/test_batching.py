from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from app.batching import LOOP_SECONDS, MicroBatcher, batch_sizes
from tests.fakes import FirstPixelClassifier, HeldClassifier, tagged_image

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from app.batching import Classified

everywhere = pytest.mark.parametrize(
    "seconds",
    [lambda _: 0.0, lambda _: math.inf, lambda images: 0.0 if images < 8 else math.inf],
    ids=["on the loop", "in the thread", "small ones on the loop"],
)


def tag_of(classified: Classified) -> tuple[int, int]:
    """Return the tag of the image that was answered: one of 1,010."""
    return int(classified.answer.probabilities.argmax()), round(100 * float(classified.answer.familiarity))


@pytest.mark.parametrize(
    ("most", "sizes"),
    [
        (1, (1,)),
        (3, (1, 2, 3)),
        (32, tuple(range(1, 33))),
        (50, (*range(1, 33), 36, 40, 45, 50)),
        (35, (*range(1, 33), 35)),
    ],
)
def test_batch_sizes_end_with_the_largest(most: int, sizes: tuple[int, ...]) -> None:
    assert batch_sizes(most) == sizes


def test_at_most_a_ninth_of_a_batch_is_padding() -> None:
    sizes = batch_sizes(1000)
    assert len(sizes) < 65
    for images in range(1, 1001):
        size = next(size for size in sizes if size >= images)
        assert (size - images) / size <= 1 / 9


@everywhere
def test_a_lone_image_is_answered_at_once_in_a_batch_of_one(seconds: Callable[[int], float]) -> None:
    classifier = FirstPixelClassifier(seconds=seconds)
    classified = asyncio.run(MicroBatcher(classifier, 8).classify(tagged_image(3)))
    assert tag_of(classified) == (3, 50)
    assert classified.images == 1
    assert classified.started < classified.ended
    assert [len(images) for images in classifier.seen] == [1]


@everywhere
def test_images_that_arrive_together_share_a_pass_padded_to_a_warm_size(seconds: Callable[[int], float]) -> None:
    classifier = FirstPixelClassifier(seconds=seconds)

    async def run() -> list[tuple[tuple[int, int], int]]:
        batcher = MicroBatcher(classifier, 64)
        answers = await asyncio.gather(*(batcher.classify(tagged_image(tag % 10, tag)) for tag in range(98)))
        return [(tag_of(one), one.images) for one in answers]

    assert asyncio.run(run()) == [((tag % 10, tag), 64 if tag < 64 else 34) for tag in range(98)]
    assert [len(images) for images in classifier.seen] == [64, 36]


@everywhere
def test_images_from_the_following_turns_of_the_loop_join_the_pass(seconds: Callable[[int], float]) -> None:
    classifier = FirstPixelClassifier(seconds=seconds)

    async def run() -> list[int]:
        batcher = MicroBatcher(classifier, 4)

        async def after(turns: int) -> int:
            for _ in range(turns):
                await asyncio.sleep(0)
            return (await batcher.classify(tagged_image(3))).images

        return await asyncio.gather(*map(after, (0, 0, 1, 2, 3)))

    assert asyncio.run(run()) == [4, 4, 4, 4, 1]  # the fifth finds the batch full


@pytest.mark.parametrize(("seconds", "on_loop"), [(LOOP_SECONDS / 2, True), (LOOP_SECONDS, False), (math.inf, False)])
def test_only_a_cheap_pass_runs_on_the_loop(seconds: float, *, on_loop: bool) -> None:
    threads = []
    classifier = FirstPixelClassifier(lambda _: threads.append(threading.current_thread()), lambda _: seconds)
    asyncio.run(MicroBatcher(classifier, 8).classify(tagged_image(3)))
    assert (threads == [threading.main_thread()]) == on_loop


def test_the_loop_turns_while_a_pass_runs_in_the_thread() -> None:
    held = HeldClassifier()

    async def run() -> int:
        batcher = MicroBatcher(held, 8)
        waiting = asyncio.create_task(batcher.classify(tagged_image(3)))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        held.release.set()
        return tag_of(await waiting)[0]

    assert asyncio.run(run()) == 3


def test_requests_that_follow_the_answers_of_a_long_pass_join_those_that_arrived_during_it() -> None:
    passes: list[int] = []
    held = HeldClassifier()

    async def run() -> None:
        batcher = MicroBatcher(held, 8, passes.append)

        async def ask() -> None:
            for _ in range(4):
                await batcher.classify(tagged_image(3))
                await asyncio.sleep(0)  # time for a client on another core to read an answer and send the next image

        first = asyncio.create_task(ask())
        await held.begins()
        second = asyncio.create_task(ask())
        asyncio.get_running_loop().call_soon(held.release.set)
        await asyncio.gather(first, second)

    asyncio.run(run())
    assert passes == [1, 2, 2, 2, 1]


def test_images_that_arrive_during_a_pass_are_gathered_for_the_next_and_passes_never_overlap() -> None:
    running = threading.Lock()

    def hold(_: NDArray[np.uint8]) -> None:
        assert running.acquire(blocking=False)
        time.sleep(0.02)
        running.release()

    classifier = FirstPixelClassifier(hold)

    async def run() -> None:
        batcher = MicroBatcher(classifier, 8)
        first = asyncio.create_task(batcher.classify(tagged_image(0)))
        await asyncio.sleep(0.005)
        later = [asyncio.create_task(batcher.classify(tagged_image(tag))) for tag in range(5)]
        await asyncio.gather(first, *later)

    asyncio.run(run())
    assert [len(images) for images in classifier.seen] == [1, 5]


@everywhere
def test_a_failing_pass_fails_only_the_images_in_it(seconds: Callable[[int], float]) -> None:
    def fail_on_nine(images: NDArray[np.uint8]) -> None:
        if images[0, 0, 0] == 9:
            msg = "nine"
            raise RuntimeError(msg)

    async def run() -> int:
        batcher = MicroBatcher(FirstPixelClassifier(fail_on_nine, seconds), 8)
        with pytest.raises(RuntimeError, match="nine"):
            await batcher.classify(tagged_image(9))
        return tag_of(await batcher.classify(tagged_image(4)))[0]

    assert asyncio.run(run()) == 4


class Once:
    """Raises on the first call, and then returns what it was given."""

    def __init__(self, value: float | None = None) -> None:
        self.value = value
        self.is_over = False

    def __call__(self, *_: object) -> float | None:
        if not self.is_over:
            self.is_over = True
            msg = "once"
            raise RuntimeError(msg)
        return self.value


@pytest.mark.parametrize(
    ("broken", "seconds"),
    [
        ("the time of a pass", 0.0),
        ("the time of a pass", math.inf),
        ("who hears of it", 0.0),
        ("who hears of it", math.inf),
        ("the thread", math.inf),
    ],
)
def test_a_failure_around_a_pass_fails_only_the_images_in_it(
    broken: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    once: Callable[[object], Any] = Once(seconds)

    async def run() -> int:
        batcher = MicroBatcher(
            FirstPixelClassifier(seconds=once if broken == "the time of a pass" else lambda _: seconds),
            8,
            once if broken == "who hears of it" else lambda _: None,
        )
        if broken == "the thread":  # as in a container that may start no more threads
            start = threading.Thread.start
            fail = Once()
            monkeypatch.setattr(threading.Thread, "start", lambda thread: (fail(), start(thread)))
        with pytest.raises(RuntimeError, match="once"):
            await asyncio.wait_for(batcher.classify(tagged_image(9)), 10)
        assert batcher.running_since is None
        return tag_of(await asyncio.wait_for(batcher.classify(tagged_image(4)), 10))[0]

    assert asyncio.run(run()) == 4


@everywhere
def test_thousands_of_images_get_their_own_answers_despite_random_cancellations_and_failures(
    seconds: Callable[[int], float],
) -> None:
    chance = random.Random(0)

    def fail_sometimes(_: NDArray[np.uint8]) -> None:
        if chance.random() < 0.05:
            msg = "unlucky"
            raise RuntimeError(msg)

    async def one(batcher: MicroBatcher, number: int) -> str:
        tag = number % 10, number // 10 % 101
        await asyncio.sleep(chance.random() * 0.2)
        task = asyncio.create_task(batcher.classify(tagged_image(*tag)))
        if chance.random() < 0.2:
            await asyncio.sleep(chance.random() * 0.001)
            task.cancel()
        try:
            classified = await task
        except asyncio.CancelledError:
            return "cancelled"
        except RuntimeError:
            return "failed"
        return "own" if tag_of(classified) == tag else "another's"

    async def run() -> list[str]:
        batcher = MicroBatcher(FirstPixelClassifier(fail_sometimes, seconds), 16)
        return await asyncio.gather(*(one(batcher, number) for number in range(4000)))

    outcomes = asyncio.run(run())
    assert set(outcomes) == {"own", "cancelled", "failed"}
    assert outcomes.count("own") > 2000


def test_requests_that_follow_at_once_share_a_pass_with_those_still_waiting() -> None:
    passes: list[int] = []

    async def run() -> None:
        batcher = MicroBatcher(FirstPixelClassifier(seconds=lambda _: 0.0), 4, passes.append)

        async def ask_twice() -> None:
            for _ in range(2):
                await batcher.classify(tagged_image(3))

        await asyncio.gather(*(ask_twice() for _ in range(6)))

    asyncio.run(run())
    assert passes == [4, 4, 4]


def test_a_closed_batcher_accepts_no_image() -> None:
    async def run() -> None:
        batcher = MicroBatcher(FirstPixelClassifier(), 4)
        await batcher.classify(tagged_image(3))
        batcher.close()
        with pytest.raises(RuntimeError):
            await batcher.classify(tagged_image(3))

    asyncio.run(run())
