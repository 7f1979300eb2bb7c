from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from app.errors import StartError
from app.imaging.segmentation import SEGMENTER, SIDE, Segmenter, garment_of, separate, tidy

if TYPE_CHECKING:
    from pathlib import Path

Piece = tuple[int, int, int, int]
"""Top, bottom, left, right."""


def mask_of(*pieces: Piece) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    for top, bottom, left, right in pieces:
        mask[top:bottom, left:right] = True
    return mask


def scene(
    *pieces: Piece, ground: tuple[int, int, int] = (150, 110, 70), shape: tuple[int, int] = (96, 96)
) -> np.ndarray:
    """Draw blue pieces on a rough ground, uint8 `[height, width, 3]`; coordinates refer to 96x96 pixels."""
    mask = cv2.resize(mask_of(*pieces).astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    pixels = np.where(mask[..., None], (40, 60, 130), ground) + np.random.default_rng(0).normal(0, 8, (*shape, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def overlap(share: np.ndarray | None, mask: np.ndarray) -> float:
    assert share is not None
    return float(((share > 0.5) & mask).sum() / ((share > 0.5) | mask).sum())


SHIRT: tuple[Piece, ...] = (20, 84, 30, 66), (20, 36, 14, 82)


@pytest.mark.parametrize("ground", [(150, 110, 70), (240, 240, 235), (20, 20, 20), (150, 30, 40)])
def test_a_garment_is_separated_from_its_ground(ground: tuple[int, int, int]) -> None:
    assert overlap(separate(scene(*SHIRT, ground=ground)), mask_of(*SHIRT)) > 0.9


def test_a_network_that_is_missing_or_damaged_is_found_before_it_is_needed(tmp_path: Path) -> None:
    SEGMENTER.require(None)
    SEGMENTER.require(SEGMENTER.digest)
    with pytest.raises(
        StartError, match=r"finds garments which the model's card names, found another\. Train the model"
    ):
        SEGMENTER.require("0" * 64)
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(SEGMENTER.path.read_bytes()[:1000])
    for path in (tmp_path / "missing.onnx", damaged):
        with pytest.raises(StartError, match=f"{path}: expected the network"):
            Segmenter(path).require(None)


def test_a_network_that_was_read_is_used_by_all_threads_even_if_its_file_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "segmenter.onnx"
    path.write_bytes(SEGMENTER.path.read_bytes())
    segmenter = Segmenter(path)
    segmenter.require(SEGMENTER.digest)
    path.unlink()
    colours = scene(*SHIRT, shape=(SIDE, SIDE))
    with ThreadPoolExecutor(1) as thread:
        assert (thread.submit(segmenter, colours).result() == SEGMENTER(colours)).all()


def test_a_small_hole_becomes_garment_and_what_lies_apart_becomes_ground() -> None:
    likely = np.full((SIDE, SIDE), 0.1, np.float32)
    likely[14:82, 14:82], likely[40:46, 40:46], likely[2:6, 2:6] = 0.9, 0.2, 0.8
    share = garment_of(likely)
    assert share is not None
    assert (share[40:46, 40:46] == 1).all()
    assert (share[:10, :10] == 0).all()
    assert share[60, 60] == np.float32(0.9)


@pytest.mark.parametrize("shape", [(1024, 768), (400, 533), (60, 40)])
def test_a_picture_of_any_size_is_separated_on_a_small_copy(shape: tuple[int, int]) -> None:
    share = separate(scene(*SHIRT, shape=shape))
    assert share is not None
    assert share.shape == (SIDE, SIDE)
    assert share.dtype == np.float32
    assert 0 <= share.min() < share.max() <= 1
    assert overlap(share, mask_of(*SHIRT)) > 0.85


@pytest.mark.parametrize("shape", [(7, 96), (96, 7), (1, 1)])
def test_a_sliver_has_no_garment(shape: tuple[int, int]) -> None:
    assert separate(np.zeros((*shape, 3), np.uint8)) is None


@pytest.mark.parametrize("level", [0, 90, 255])
def test_one_colour_has_no_garment(level: int) -> None:
    assert separate(np.full((60, 60, 3), level, np.uint8)) is None


def test_the_second_shoe_belongs_to_the_first() -> None:
    shoes = mask_of((26, 70, 14, 42), (26, 70, 54, 82))
    assert np.array_equal(tidy(shoes), shoes)


def test_what_lies_about_at_the_edge_does_not() -> None:
    garment, scrap = (18, 78, 24, 70), (4, 10, 4, 10)
    assert np.array_equal(tidy(mask_of(garment, scrap)), mask_of(garment))


def test_a_print_is_filled_and_the_inside_of_a_handle_is_not() -> None:
    garment = mask_of((14, 82, 14, 82))
    small, large = (mask_of((30, 30 + side, 30, 30 + side)) for side in (9, 40))
    assert np.array_equal(tidy(garment & ~small), garment)
    assert np.array_equal(tidy(garment & ~large), garment & ~large)


def test_ground_at_a_corner_is_not_a_hole() -> None:
    garment = ~mask_of((0, 4, 0, 4))
    assert np.array_equal(tidy(garment), garment)


def test_threads_that_separate_at_the_same_time_do_not_disturb_each_other() -> None:
    pictures = [scene(*SHIRT, ground=(60 * number, 110, 70)) for number in range(4)]
    alone = [separate(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(separate, pictures * 5))
    for number, share in enumerate(together):
        expected = alone[number % 4]
        assert share is not None
        assert expected is not None
        assert np.array_equal(share, expected)


def test_a_segmenter_can_be_pickled() -> None:
    picture = scene(*SHIRT)
    assert np.array_equal(pickle.loads(pickle.dumps(SEGMENTER))(picture), SEGMENTER(picture))  # noqa: S301  our own
