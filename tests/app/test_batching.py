from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest

from app.batching import MicroBatcher, batch_sizes
from tests.fakes import FirstPixelClassifier, tagged_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@pytest.mark.parametrize(
    ("most", "sizes"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8)), (32, (1, 2, 4, 8, 16, 32))]
)
def test_batch_sizes_are_powers_of_two_up_to_the_largest(most: int, sizes: tuple[int, ...]) -> None:
    assert batch_sizes(most) == sizes


def test_a_lone_image_is_answered_at_once_in_a_batch_of_one() -> None:
    classifier = FirstPixelClassifier()
    assert asyncio.run(MicroBatcher(classifier, 8).classify(tagged_image(3))).probabilities.argmax() == 3
    assert [len(images) for images in classifier.seen] == [1]


def test_what_arrives_together_goes_together_padded_to_a_warm_size() -> None:
    classifier = FirstPixelClassifier()

    async def run() -> list[int]:
        batcher = MicroBatcher(classifier, 8)
        answers = await asyncio.gather(*(batcher.classify(tagged_image(tag)) for tag in range(10)))
        return [int(answer.probabilities.argmax()) for answer in answers]

    assert asyncio.run(run()) == list(range(10))
    assert [len(images) for images in classifier.seen] == [8, 2]


def test_what_arrives_during_a_pass_is_gathered_for_the_next_and_passes_never_overlap() -> None:
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
    assert [len(images) for images in classifier.seen] == [1, 8]


def test_a_failing_pass_fails_those_in_it_and_no_one_after() -> None:
    def fail_on_nine(images: NDArray[np.uint8]) -> None:
        if images[0, 0, 0] == 9:
            msg = "nine"
            raise RuntimeError(msg)

    async def run() -> int:
        batcher = MicroBatcher(FirstPixelClassifier(fail_on_nine), 8)
        with pytest.raises(RuntimeError, match="nine"):
            await batcher.classify(tagged_image(9))
        return int((await batcher.classify(tagged_image(4))).probabilities.argmax())

    assert asyncio.run(run()) == 4


def test_thousands_of_requests_get_their_own_answers_under_random_cancels_and_failures() -> None:
    chance = random.Random(0)

    def fail_sometimes(_: NDArray[np.uint8]) -> None:
        if chance.random() < 0.05:
            msg = "unlucky"
            raise RuntimeError(msg)

    async def one(batcher: MicroBatcher, tag: int) -> str:
        await asyncio.sleep(chance.random() * 0.2)
        task = asyncio.create_task(batcher.classify(tagged_image(tag)))
        if chance.random() < 0.2:
            await asyncio.sleep(chance.random() * 0.001)
            task.cancel()
        try:
            answer = await task
        except asyncio.CancelledError:
            return "cancelled"
        except RuntimeError:
            return "failed"
        return "own" if answer.probabilities.argmax() == tag else "another's"

    async def run() -> list[str]:
        batcher = MicroBatcher(FirstPixelClassifier(fail_sometimes), 16)
        return await asyncio.gather(*(one(batcher, number % 10) for number in range(4000)))

    outcomes = asyncio.run(run())
    assert set(outcomes) == {"own", "cancelled", "failed"}
    assert outcomes.count("own") > 2000
