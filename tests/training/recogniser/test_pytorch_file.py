from __future__ import annotations

import io
import os
import pickle
import struct
import sys
from collections import OrderedDict
from types import ModuleType
from typing import Any

import pytest

from training.recogniser.pytorch_file import read_tensors


class Tensor:
    """Pickles like a PyTorch tensor: as a call that says where its numbers are."""

    def __init__(self, kind: str, storage: str, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.source = Storage(kind, storage)
        self.where = start, shape, strides

    def __reduce__(self) -> tuple[Any, ...]:
        return vars(sys.modules["torch._utils"])["_rebuild_tensor_v2"], (self.source, *self.where, False, OrderedDict())


class Storage:
    """A storage, which is pickled by name alone."""

    def __init__(self, kind: str, key: str) -> None:
        self.pid = "storage", getattr(sys.modules["torch"], kind), key, "cpu", 6, None


class Writer(pickle.Pickler):
    """Pickles storages by name."""

    def persistent_id(self, obj: object) -> object:
        return obj.pid if isinstance(obj, Storage) else None


@pytest.fixture(autouse=True)
def _torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Define the few names of PyTorch that its files contain, where pickle looks for them."""
    for module, names in {"torch": ("FloatStorage", "LongStorage"), "torch._utils": ("_rebuild_tensor_v2",)}.items():
        made = ModuleType(module)
        for name in names:
            setattr(made, name, type(name, (), {"__module__": module}))
        monkeypatch.setitem(sys.modules, module, made)


def pickled(what: object) -> bytes:
    file = io.BytesIO()
    Writer(file, 2).dump(what)
    return file.getvalue()


def file_of(tensors: object, **storages: bytes) -> io.BytesIO:
    before = [pickled(part) for part in (0, 1001, {}, tensors, [*storages])]
    return io.BytesIO(b"".join([*before, *storages.values()]))


def test_tensors_are_read_at_any_offset_and_with_any_strides() -> None:
    tensors = OrderedDict(
        rows=Tensor("FloatStorage", "a", 0, (2, 3), (3, 1)),
        columns=Tensor("FloatStorage", "a", 1, (2, 2), (1, 2)),
        count=Tensor("LongStorage", "b", 0, (), ()),
    )
    read = read_tensors(file_of(tensors, a=struct.pack("<q6f", 6, *range(6)), b=struct.pack("<qq", 1, 7)))
    assert read["rows"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read["columns"].tolist() == [[1, 3], [2, 4]]
    assert read["count"].tolist() == 7


def test_a_pickle_that_calls_something_else_is_refused() -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"found a pickle that calls \w+\.getcwd"):
        read_tensors(file_of(os.getcwd))
