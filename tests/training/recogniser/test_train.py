from __future__ import annotations

import numpy as np
import pytest

from training.recogniser.config import RecogniserConfig
from training.recogniser.train import Batches

SIDE = 160
PLAIN = RecogniserConfig(epochs=3, batch_size=5, erased_share=0)


@pytest.fixture
def lessons() -> np.ndarray:
    """Two versions of ten photographs, whose colours tell them apart: 20, 40 and so on, and one more in the second."""
    colours = np.arange(20, 220, 20)[:, None] + [0, 1]
    return np.broadcast_to(colours[..., None, None, None], (10, 2, SIDE, SIDE, 3)).astype(np.uint8)


def drawn(config: RecogniserConfig, lessons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures and targets of all batches, with a label of its own for each of ten photographs."""
    batches = Batches(config, lessons, np.eye(10, dtype=np.float32))
    pictures, targets = zip(*(batches[number] for number in range(len(batches))), strict=True)
    return np.concatenate(pictures), np.concatenate(targets)


def test_each_epoch_shows_every_photograph_once(lessons: np.ndarray) -> None:
    batches = Batches(PLAIN, lessons, np.eye(10, dtype=np.float32))
    assert len(batches) == 6
    epochs = batches.order.reshape(3, 10)
    assert (np.sort(epochs) == np.arange(10)).all()
    assert (epochs[0] != epochs[1]).any()


def test_a_picture_and_its_target_are_blended_alike(lessons: np.ndarray) -> None:
    pictures, targets = drawn(PLAIN, lessons)
    assert ((targets > 0.01) & (targets < 0.99)).any()
    assert (pictures == pictures[:, :1, :1]).all()
    blended = pictures[:, 0, 0, 0] - targets @ np.arange(20, 220, 20)  # at most one more, of a second version
    assert -0.51 < blended.min() < blended.max() < 1.51


def test_every_version_is_shown(lessons: np.ndarray) -> None:
    config = RecogniserConfig(epochs=20, batch_size=1, erased_share=0)  # a batch of one is blended with itself
    colours = drawn(config, lessons)[0][:, 0, 0, 0]
    assert set(colours.tolist()) == set(lessons[:, :, 0, 0, 0].ravel().tolist())


def test_half_of_the_pictures_are_mirrored(lessons: np.ndarray) -> None:
    lessons[..., : SIDE // 4, :] = 0
    config = RecogniserConfig(epochs=20, batch_size=1, erased_share=0)
    pictures, _ = drawn(config, lessons)
    as_they_are, mirrored = (pictures[:, 0, 0, 0] == 0), (pictures[:, 0, -1, 0] == 0)
    assert (as_they_are ^ mirrored).all()
    assert 0.35 < mirrored.mean() < 0.65


def test_a_share_of_the_pictures_has_a_square_of_another_colour(lessons: np.ndarray) -> None:
    config = RecogniserConfig(epochs=20, batch_size=1, erased_share=0.3)
    pictures, targets = drawn(config, lessons)
    changed = np.abs(pictures - (targets @ np.arange(20, 220, 20))[:, None, None, None]).max(axis=3) > 1
    with_square = changed.any(axis=(1, 2))
    assert 0.2 < with_square.mean() < 0.4
    for square in changed[with_square]:
        rows, columns = square.any(axis=1).sum(), square.any(axis=0).sum()
        assert SIDE // 5 <= rows == columns < SIDE // 2
        assert square.sum() == rows * columns


def test_the_same_number_gives_the_same_batch_and_another_seed_another(lessons: np.ndarray) -> None:
    pictures, targets = drawn(PLAIN, lessons)
    again, same_targets = drawn(PLAIN, lessons)
    assert (pictures == again).all()
    assert (targets == same_targets).all()
    other, _ = drawn(RecogniserConfig(epochs=3, batch_size=5, erased_share=0, seed=1), lessons)
    assert (pictures != other).any()
