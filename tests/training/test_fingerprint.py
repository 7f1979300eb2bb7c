from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import PIL

from training.fingerprint import CONVERSION, fingerprint
from training.pictures import mixture, photos, upload


def test_equal_parts_have_the_same_fingerprint_wherever_a_file_is(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"same")
    other.write_bytes(b"same")
    assert fingerprint(1, np.arange(3), one) == fingerprint(1, np.arange(3), other)


def test_every_difference_changes_the_fingerprint(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"same")
    parts = [("ab", "c"), ("a", "bc"), ("abc",), (file,), (np.arange(6),), (np.arange(6).reshape(2, 3),)]
    parts += [(np.arange(6, dtype=np.uint8),), (np.zeros(6, int),)]
    seen = {fingerprint(*some) for some in parts}
    file.write_bytes(b"changed")
    assert len(seen | {fingerprint(file)}) == len(parts) + 1


def test_converted_images_depend_on_what_converts_them_and_on_the_libraries() -> None:
    assert {Path(str(module.__file__)) for module in (mixture, photos, upload)} <= {*mixture.CODE}
    assert {*CONVERSION} <= {*mixture.CODE}
    assert {f"cv2 {cv2.__version__}", f"numpy {np.__version__}", f"PIL {PIL.__version__}"} <= {*CONVERSION}
