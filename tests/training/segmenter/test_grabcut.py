from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from training.segmenter.grabcut import SEGMENTED_PIXELS, separate


def scene(*pieces: tuple[int, int, int, int], ground: tuple[int, int, int] = (150, 110, 70)) -> np.ndarray:
    """Draw blue pieces (top, bottom, left, right) on a rough ground of 72 by 54 pixels."""
    rng = np.random.default_rng(0)
    pixels = np.full((72, 54, 3), ground, np.float32)
    for top, bottom, left, right in pieces:
        pixels[top:bottom, left:right] = (40, 60, 130)
    return np.clip(pixels + rng.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def marked(*pieces: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((72, 54), bool)
    for top, bottom, left, right in pieces:
        mask[top:bottom, left:right] = True
    return mask


def separated(pixels: np.ndarray) -> np.ndarray:
    garment = separate(pixels)
    assert garment is not None
    return garment


@pytest.mark.parametrize("ground", [(150, 110, 70), (240, 240, 235), (20, 20, 20), (150, 30, 40)])
def test_a_garment_is_told_from_its_ground_by_colour(ground: tuple[int, int, int]) -> None:
    piece = (12, 60, 12, 42)
    assert overlap(separated(scene(piece, ground=ground)), marked(piece)) > 0.95


def test_both_shoes_of_a_pair_are_found() -> None:
    shoes = (20, 52, 8, 24), (20, 52, 30, 46)
    assert overlap(separated(scene(*shoes)), marked(*shoes)) > 0.9


def test_a_scrap_at_the_edge_is_left_out() -> None:
    garment, scrap = (14, 58, 14, 40), (4, 9, 4, 9)
    assert overlap(separated(scene(garment, scrap)), marked(garment)) > 0.95


def test_a_print_is_filled_and_the_inside_of_a_handle_is_not() -> None:
    garment = (10, 62, 8, 46)
    pixels = scene(garment)
    ground = scene()
    pixels[20:27, 20:27] = ground[20:27, 20:27]
    assert separated(pixels)[20:27, 20:27].all()
    pixels[20:46, 14:40] = ground[20:46, 14:40]
    assert not separated(pixels)[24:42, 18:36].any()


@pytest.mark.parametrize("shape", [(7, 72), (72, 7), (1, 1)])
def test_a_sliver_has_no_garment(shape: tuple[int, int]) -> None:
    assert separate(np.zeros((*shape, 3), np.uint8)) is None


def test_a_picture_of_one_colour_has_no_garment() -> None:
    assert separate(np.full((60, 60, 3), 200, np.uint8)) is None


def test_a_large_picture_is_separated_on_a_small_copy() -> None:
    piece = (12, 60, 12, 42)
    large = cv2.resize(scene(piece), (540, 720))
    garment = separated(large)
    assert max(garment.shape) == SEGMENTED_PIXELS
    assert overlap(garment, marked(piece)) > 0.9


def test_threads_that_separate_at_the_same_time_do_not_disturb_each_other() -> None:
    pixels = [np.random.default_rng(seed).integers(0, 256, (72, 54, 3), dtype=np.uint8) for seed in range(4)]
    alone = [separate(one) for one in pixels]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(separate, pixels * 5))
    for number, garment in enumerate(together):
        expected = alone[number % 4]
        assert (garment is None) == (expected is None)
        assert garment is None or expected is None or np.array_equal(garment, expected)
