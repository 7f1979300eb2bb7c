from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from training.config import DEFAULTS, PhotoConfig, TrainingConfig
from training.data import Data, one_hot
from training.pictures.augmentation import augment, batches, degrade
from training.pictures.mixture import Mixture

PLAIN = DEFAULTS["mlp"].override(batch_size=32)
FULL = DEFAULTS["cnn"].override(batch_size=32)


def stream(data: Data, config: TrainingConfig, count: int, first_epoch: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    made = batches(data.train.images, one_hot(data.train.class_ids), config, first_epoch)
    return list(islice(made, count))


def test_without_augmentation_an_epoch_is_the_data_in_another_order(data: Data) -> None:
    epoch = stream(data, PLAIN.override(batch_size=30), 10)
    images = np.concatenate([images for images, _ in epoch])
    assert not np.array_equal(images, data.train.images)
    assert sorted(image.tobytes() for image in images) == sorted(image.tobytes() for image in data.train.images)


def test_images_keep_their_targets(data: Data) -> None:
    class_of = dict(zip([image.tobytes() for image in data.train.images], data.train.class_ids, strict=True))
    for images, targets in stream(data, PLAIN, 9):
        assert [class_of[image.tobytes()] for image in images] == targets.argmax(axis=1).tolist()


def test_a_stream_resumed_at_an_epoch_continues_like_an_unbroken_one(data: Data) -> None:
    steps = len(data.train) // FULL.batch_size
    unbroken = stream(data, FULL, 3 * steps)[2 * steps :]
    resumed = stream(data, FULL, steps, first_epoch=2)
    for (images, targets), (images_again, targets_again) in zip(unbroken, resumed, strict=True):
        assert np.array_equal(images, images_again)
        assert np.array_equal(targets, targets_again)


def test_each_image_is_mirrored_in_every_second_epoch(data: Data) -> None:
    config = PLAIN.override(batch_size=len(data.train), flip=True)
    first, second = ({image.tobytes() for image in images} for images, _ in stream(data, config, 2))
    for image in data.train.images:
        assert (image.tobytes() in first) != (image.tobytes() in second) or np.array_equal(image, image[:, ::-1])


def test_a_shift_moves_by_at_most_its_pixels_and_fills_with_black() -> None:
    dot = np.zeros((500, 28, 28), np.uint8)
    dot[:, 14, 14] = 255
    config = PLAIN.override(shift_pixels=2)
    moved = augment(dot, np.zeros(500, bool), config, np.random.default_rng(0))
    _, rows, columns = np.nonzero(moved)
    assert set(rows.tolist()) == set(columns.tolist()) == {12, 13, 14, 15, 16}
    assert moved.sum() == dot.sum()


@pytest.mark.parametrize("side", [1, 8, 9])
def test_a_cutout_blanks_one_square_that_may_extend_past_the_edge(side: int) -> None:
    white = np.full((500, 28, 28), 255, np.uint8)
    cut = augment(white, np.zeros(500, bool), PLAIN.override(cutout_pixels=side), np.random.default_rng(0)) == 0
    areas = cut.sum(axis=(1, 2))
    assert areas.max() == side * side
    assert areas.min() >= (side // 2) ** 2
    heights, widths = cut.any(axis=2).sum(axis=1), cut.any(axis=1).sum(axis=1)
    assert np.array_equal(areas, heights * widths)


def test_the_last_epochs_have_no_cutout(data: Data) -> None:
    white = replace(data, train=replace(data.train, images=np.full_like(data.train.images, 255)))
    config = PLAIN.override(epochs=10, batch_size=len(data.train), cutout_pixels=9, uncut_share=0.2)
    assert [bool((images == 0).any()) for images, _ in stream(white, config, 11)] == [True] * 8 + [False] * 3


def test_augmenting_leaves_the_originals_alone(data: Data) -> None:
    before = data.train.images.copy()
    stream(data, FULL, 5)
    assert np.array_equal(before, data.train.images)


def test_photographs_and_disguised_images_take_their_shares_with_their_targets(data: Data) -> None:
    count = len(data.train)
    mixture = replace(
        Mixture.of_nothing(),
        disguised=np.full((count, 28, 28), 7, np.uint8),
        photos=np.full((5, 3, 28, 28), 200, np.uint8),
        targets=(rows := np.tile(np.array([0, 0, 0.5, 0, 0, 0, 0.5, 0, 0, 0], np.float32), (5, 1))),
        allowed=rows,
        chances=np.full(5, 0.2),
    )
    config = PLAIN.override(batch_size=100, photos=PhotoConfig(share=0.3, disguised_share=0.4))
    made = batches(data.train.images, one_hot(data.train.class_ids), config, mixture=mixture)
    images, targets = (np.concatenate(parts) for parts in zip(*islice(made, 8), strict=True))
    is_photo = (images == 200).all(axis=(1, 2))
    assert is_photo.sum() == 8 * 30
    assert (targets[is_photo] == mixture.targets[0]).all()
    assert (targets[~is_photo].max(axis=1) == 1).all()
    is_disguised = (images == 7).all(axis=(1, 2))
    assert is_disguised.sum() / (~is_photo).sum() == pytest.approx(0.4, abs=0.08)


def test_the_chosen_share_of_the_images_is_degraded_and_the_rest_left_alone() -> None:
    grey = np.zeros((2000, 28, 28), np.uint8)
    grey[:, 7:21, 7:21] = 128
    degraded = degrade(grey, 0.4, np.random.default_rng(0))
    changed = (degraded != grey).any(axis=(1, 2))
    # One in 32 of the chosen images gets no blur along either axis, no less contrast, no more light and no noise.
    assert changed.mean() == pytest.approx(0.4 * 31 / 32, abs=0.03)


def test_degraded_images_are_blurred_paler_lighter_and_noisy_up_to_a_limit() -> None:
    white = np.zeros((4000, 28, 28), np.uint8)
    white[:, :, 14:] = 255
    degraded = degrade(white, 1.0, np.random.default_rng(0)).astype(float)
    ground, cloth = degraded[:, 2:-2, 2:10], degraded[:, 2:-2, 18:26]
    noise = ground.std(axis=(1, 2))
    calm = noise == 0
    # Half have no noise. In a quarter it grows with the light; a quarter of these keep a black ground without noise.
    assert calm.mean() == pytest.approx(0.5 + 0.25 * 0.25, abs=0.03)
    level, range_ = ground.mean(axis=(1, 2))[calm], (cloth - ground).mean(axis=(1, 2))[calm]
    assert level.min() == 0
    assert 0.65 * 255 < level.max() < (0.35 + 0.4) * 255  # at the least contrast and with the most light
    assert range_.max() == 255
    assert 0.2 * 255 < range_.min() < 0.4 * 255
    edge = degraded[calm & (ground.max(axis=(1, 2)) == 0), 2:-2, 13].mean(axis=1) / 255
    assert (edge > 0).mean() == pytest.approx(0.5, abs=0.05)
    assert edge.max() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_only_the_data_sets_own_images_are_degraded(data: Data, share: float) -> None:
    mixture = replace(
        Mixture.of_nothing(),
        disguised=data.train.images,
        photos=np.full((5, 3, 28, 28), 200, np.uint8),
        targets=(rows := np.tile(np.eye(10, dtype=np.float32)[0], (5, 1))),
        allowed=rows,
        chances=np.full(5, 0.2),
    )
    config = PLAIN.override(batch_size=100, photos=PhotoConfig(share=0.3), degraded_share=share)
    known = {image.tobytes() for image in data.train.images}
    made = batches(data.train.images, one_hot(data.train.class_ids), config, mixture=mixture)
    for images, _ in islice(made, 4):
        assert (images[70:] == 200).all()
        degraded = [image.tobytes() not in known for image in images[:70]]
        assert np.mean(degraded) == pytest.approx(share, abs=0.2)
        assert any(degraded) == bool(share)
