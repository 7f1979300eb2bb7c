"""Reads tensors in the format of PyTorch before version 1.6, without PyTorch."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class _Tensor(NamedTuple):
    """Where a tensor's numbers are: storage, type, offset, shape and strides, the offset and strides in numbers."""

    storage: str
    dtype: str
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Reads each tensor as the place of its numbers, and refuses to call anything else that a pickle names."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  as the library has it
        if name in TYPES:
            return TYPES[name]
        known = {"OrderedDict": OrderedDict, "_rebuild_tensor_v2": _rebuild}
        if name not in known:
            msg = f"expected a file of tensors, found a pickle that calls {module}.{name}"
            raise pickle.UnpicklingError(msg)
        return known[name]

    def persistent_load(self, pid: tuple[Any, ...]) -> tuple[str, str]:
        _, dtype, storage, *_ = pid
        return storage, dtype


def _rebuild(
    source: tuple[str, str], start: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Tensor:
    return _Tensor(*source, start, shape, strides)


def read_tensors(file: BinaryIO) -> dict[str, NDArray[np.generic]]:
    """Return the tensors in a file by name.

    Args:
        file: Three pickles about the format; one of the tensors, which says where in which storage their numbers are;
            one that names the storages in order; then, for each storage, a count and the numbers.

    Raises:
        pickle.UnpicklingError: The file holds something else.
    """
    _magic, _version, _types, tensors, storages = (_Unpickler(file).load() for _ in range(5))
    dtypes = {tensor.storage: tensor.dtype for tensor in tensors.values()}
    numbers = {}
    for storage in storages:
        (count,) = np.frombuffer(file.read(8), "<i8")
        numbers[storage] = file.read(int(count) * np.dtype(dtypes[storage]).itemsize)
    return {name: _tensor(numbers[where.storage], where) for name, where in tensors.items()}


def _tensor(numbers: bytes, where: _Tensor) -> NDArray[np.generic]:
    size = np.dtype(where.dtype).itemsize
    strides = tuple(size * stride for stride in where.strides)
    return np.ndarray(where.shape, where.dtype, numbers, size * where.start, strides)
