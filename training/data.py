"""Fashion-MNIST: located, verified by digest, parsed from IDX and split."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from training.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""The ten classes in the data set's own order (https://github.com/zalandoresearch/fashion-mnist)."""

# SHA-256 of the uncompressed IDX files as published since September 2017. Packagers recompress the files, and the
# split published before that date had duplicates across train and test.
DIGESTS = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts the files."""

VALIDATION_IMAGES = 5_000


@dataclass(frozen=True, slots=True)
class Split:
    """Images with their class ids.

    Attributes:
        images: uint8 `[n, 28, 28]`, garment bright on black.
        class_ids: uint8 `[n]`, 0 to 9.
    """

    images: NDArray[np.uint8]
    class_ids: NDArray[np.uint8]

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)

    def take(self, chosen: NDArray[np.intp] | slice) -> Split:
        """Return the chosen rows as a split of their own."""
        return Split(self.images[chosen], self.class_ids[chosen])


@dataclass(frozen=True, slots=True)
class Data:
    """The three splits; `test` is for models that have already been chosen.

    Attributes:
        digests: SHA-256 of each uncompressed source file, by name.
    """

    train: Split
    validation: Split
    test: Split
    digests: Mapping[str, str]


def keras_cache() -> Path:
    """Return the folder that Keras' loader downloads Fashion-MNIST into."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets" / "fashion-mnist"


def download() -> None:
    """Let Keras' own loader download the four files into `keras_cache()`.

    Raises:
        DataError: The download failed.
    """
    import keras  # noqa: PLC0415  takes seconds to import, and most runs need no download

    try:
        keras.datasets.fashion_mnist.load_data()
    except Exception as error:  # Keras raises nothing more specific without a network
        msg = f"expected to download Fashion-MNIST, failed: {error}. Install dataset-fashion-mnist, or name its folder "
        msg += "with --data"
        raise DataError(msg) from error


def find_folder(
    given: Path | None = None,
    known: Sequence[Path] | None = None,
    download: Callable[[], object] = download,
) -> Path:
    """Return the first folder that holds all four files, downloading them only if there is none.

    Args:
        given: The only folder to look in; None looks in `known`.
        known: Folders to search, in order; by default Debian's package, then Keras' cache.
        download: Fills the last folder of `known`; called when no folder has all the files.

    Raises:
        DataError: A file is missing from the given folder, or still after the download.
    """
    if given is not None:
        _require_files(given)
        return given
    known = (DEBIAN_FOLDER, keras_cache()) if known is None else known
    for folder in known:
        if len(_files(folder)) == len(DIGESTS):
            return folder
    logger.info("Fashion-MNIST is in none of %s: downloading it", ", ".join(map(str, known)))
    download()
    _require_files(known[-1])
    return known[-1]


def load(folder: Path, seed: int, digests: Mapping[str, str] = DIGESTS) -> Data:
    """Read the four IDX files of a folder and split them.

    Args:
        folder: Holds the files of `DIGESTS`, plain or with the suffix `.gz`.
        seed: Decides which 500 training images of each class form the validation split.
        digests: Required SHA-256 of each uncompressed file, by name, in the order of `DIGESTS`.

    Returns:
        55,000 training, 5,000 validation and 10,000 test images.

    Raises:
        DataError: A file is missing, cannot be decompressed, or is not the published one.
    """
    files = _require_files(folder)
    train_images, train_labels, test_images, test_labels = (
        parse_idx(_read(files[name], digest)) for name, digest in digests.items()
    )
    train, validation = stratified_split(Split(train_images, train_labels), VALIDATION_IMAGES, seed)
    return Data(train, validation, Split(test_images, test_labels), digests)


def parse_idx(data: bytes) -> NDArray[np.uint8]:
    """Parse an IDX file of unsigned bytes.

    Args:
        data: Two zero bytes, the type 0x08, the number of axes, each axis as a big-endian uint32, then the values.

    Returns:
        uint8, in the shape that the header gives.

    Raises:
        DataError: The header is not that of unsigned bytes, or the values do not fill the shape.

    Source:
        http://yann.lecun.com/exdb/mnist/ ("The IDX file format").
    """
    if data[:3] != b"\x00\x00\x08":
        msg = f"expected an IDX header of unsigned bytes (00 00 08), received {data[:3].hex(' ') or 'an empty file'}"
        raise DataError(msg)
    header = 4 + 4 * data[3]
    shape = tuple(int(size) for size in np.frombuffer(data[4:header], ">u4"))
    values = np.frombuffer(data, np.uint8, offset=header)
    if values.size != np.prod(shape):
        msg = f"expected {np.prod(shape)} values for the shape {shape}, received {values.size}"
        raise DataError(msg)
    return values.reshape(shape)


def stratified_split(split: Split, held_out: int, seed: int) -> tuple[Split, Split]:
    """Hold out the same number of images of each class.

    Args:
        split: Images to divide.
        held_out: Number of images to hold out; a multiple of the number of classes.
        seed: Decides which images.

    Returns:
        The remaining and the held-out images, each in the original order.
    """
    rng = np.random.default_rng(seed)
    each = held_out // len(LABELS)
    chosen = np.zeros(len(split), bool)
    for class_id in range(len(LABELS)):
        chosen[rng.permutation(np.flatnonzero(split.class_ids == class_id))[:each]] = True
    return split.take(np.flatnonzero(~chosen)), split.take(np.flatnonzero(chosen))


def one_hot(class_ids: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return float32 `[n, 10]`, 1 at the class id of each row."""
    return np.eye(len(LABELS), dtype=np.float32)[class_ids]


def _files(folder: Path) -> dict[str, Path]:
    """Return those of the four files that the folder holds, plain or compressed, by name."""
    candidates = ((name, folder / f"{name}{ending}") for name in DIGESTS for ending in ("", ".gz"))
    return {name: path for name, path in candidates if path.is_file()}


def _require_files(folder: Path) -> dict[str, Path]:
    files = _files(folder)
    if missing := [name for name in DIGESTS if name not in files]:
        msg = f"{folder}: expected the four IDX files of Fashion-MNIST, plain or .gz; missing {', '.join(missing)}"
        raise DataError(msg)
    return files


def _read(path: Path, digest: str) -> bytes:
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        msg = f"{path}: cannot be read ({error}); fetch it again"
        raise DataError(msg) from error
    if (received := hashlib.sha256(data).hexdigest()) != digest:
        msg = f"{path}: expected SHA-256 {digest} of the uncompressed bytes, received {received}; fetch it again"
        raise DataError(msg)
    return data
