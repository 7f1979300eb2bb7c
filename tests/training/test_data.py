from __future__ import annotations

import gzip
import hashlib
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from training import data
from training.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


def idx(values: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


@pytest.fixture
def files() -> dict[str, bytes]:
    """Return four small IDX files."""
    rng = np.random.default_rng(0)
    made = {}
    for name in data.DIGESTS:
        shape = (6000, 28, 28) if "images" in name else (6000,)
        values = rng.integers(0, 256, shape, dtype=np.uint8) if "images" in name else np.arange(6000) % 10
        made[name] = idx(values.astype(np.uint8))
    return made


def digests(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def write(folder: Path, files: dict[str, bytes], *, compressed: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        path = folder / (f"{name}.gz" if compressed else name)
        path.write_bytes(gzip.compress(content) if compressed else content)
    return folder


@pytest.mark.parametrize("compressed", [False, True])
def test_plain_and_compressed_files_are_read_and_split(
    tmp_path: Path, files: dict[str, bytes], *, compressed: bool
) -> None:
    loaded = data.load(write(tmp_path, files, compressed=compressed), 0, digests(files))
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (1000, 5000, 6000)
    assert np.bincount(loaded.validation.class_ids).tolist() == [500] * 10


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:-1] + b"\xff"])
def test_a_truncated_or_changed_file_is_refused_by_name(
    tmp_path: Path, files: dict[str, bytes], damage: Callable[[bytes], bytes]
) -> None:
    write(tmp_path, files)
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"^{path}: expected SHA-256 \w+ of the uncompressed bytes, received \w+"):
        data.load(tmp_path, 0, digests(files))


def test_a_damaged_compressed_file_is_refused_by_name(tmp_path: Path, files: dict[str, bytes]) -> None:
    write(tmp_path, files, compressed=True)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=rf"^{path}: cannot be read"):
        data.load(tmp_path, 0, digests(files))


def test_a_given_folder_is_the_only_one_looked_at(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"^{tmp_path}: expected the four IDX files .* missing train-images"):
        data.find_folder(tmp_path)


def test_folders_are_tried_in_order(tmp_path: Path, files: dict[str, bytes]) -> None:
    first, second = tmp_path / "first", write(tmp_path / "second", files)
    assert data.find_folder(known=(first, second)) == second
    write(first, files, compressed=True)
    assert data.find_folder(known=(first, second)) == first
    assert data.find_folder(second, known=(first,)) == second


def test_only_when_no_folder_has_the_files_they_are_downloaded_into_the_last(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    cache = tmp_path / "cache"
    assert data.find_folder(known=(tmp_path / "none", cache), download=lambda: write(cache, files)) == cache


def test_without_a_network_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise Exception("URL fetch failure")  # noqa: EM101, TRY002, TRY003  as Keras does

    monkeypatch.setattr("keras.datasets.fashion_mnist.load_data", fail)
    with pytest.raises(DataError, match=r"URL fetch failure\. Install dataset-fashion-mnist"):
        data.download()


def test_a_download_that_brings_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing train-images-idx3-ubyte"):
        data.find_folder(known=(tmp_path,), download=lambda: None)


def test_the_cache_is_that_of_keras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert data.keras_cache() == tmp_path / "datasets" / "fashion-mnist"


def test_the_split_is_stratified_seeded_and_loses_no_image(data: data.Data) -> None:
    from training.data import stratified_split  # noqa: PLC0415  `data` is the fixture here

    rest, held = stratified_split(data.test, 50, seed=1)
    again, _ = stratified_split(data.test, 50, seed=1)
    other, _ = stratified_split(data.test, 50, seed=2)
    assert np.bincount(held.class_ids).tolist() == [5] * 10
    assert np.array_equal(rest.images, again.images)
    assert not np.array_equal(rest.images, other.images)
    together = {image.tobytes() for image in np.concatenate([rest.images, held.images])}
    assert together == {image.tobytes() for image in data.test.images}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "received an empty file"),
        (b"\x89PNG", r"received 89 50 4e"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00", "received 00 00 0d"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x05abc", r"expected 5 values for the shape \(5,\), received 3"),
    ],
)
def test_a_file_that_is_not_an_idx_file_of_bytes_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        data.parse_idx(content)


def test_one_hot_has_a_one_at_the_class() -> None:
    assert data.one_hot(np.array([9, 0], np.uint8)).argmax(axis=1).tolist() == [9, 0]


@pytest.mark.skipif(not data.DEBIAN_FOLDER.exists(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_debian_s_package_holds_the_published_files() -> None:
    loaded = data.load(data.find_folder(), seed=0)
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (55_000, 5_000, 10_000)
