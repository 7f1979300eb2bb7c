from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.errors import StartError
from app.model_card import CARD_NAME, GoldenExample, file_digests, read_verified
from tests.fakes import make_card

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an artifact of two files that match its card."""
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    (tmp_path / "variables" / "variables.index").write_bytes(b"weights")
    make_card(file_digests(tmp_path)).write(tmp_path)
    return tmp_path


def test_an_intact_artifact_yields_its_card(folder: Path) -> None:
    card = read_verified(folder)
    assert card.name == "fake"
    assert card.files["saved_model.pb"] == hashlib.sha256(b"graph").hexdigest()


def test_a_card_that_cannot_be_written_completely_leaves_the_previous_one(folder: Path) -> None:
    code = "import resource, signal, sys; from pathlib import Path; from app.model_card import read_verified\n"
    code += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
    code += "read_verified(folder := Path(sys.argv[1])).model_copy(update={'name': 'new'}).write(folder)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert "File too large" in done.stderr
    assert read_verified(folder).name == "fake"


def test_a_missing_folder_is_named_with_the_setting_that_chooses_it(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=rf"^{tmp_path / 'none' / CARD_NAME}: expected a model card, .*MODEL_DIR"):
        read_verified(tmp_path / "none")


@pytest.mark.parametrize("text", ["", "not JSON", "{}", '{"name": "x", "surprise": 1}'])
def test_an_invalid_card_is_refused_in_one_line(folder: Path, text: str) -> None:
    (folder / CARD_NAME).write_text(text)
    with pytest.raises(StartError, match=rf"^{folder / CARD_NAME}: expected a model card, found .+$"):
        read_verified(folder)


def test_a_card_with_an_unknown_field_is_refused_even_if_it_is_nested(folder: Path) -> None:
    card = json.loads((folder / CARD_NAME).read_text())
    card["training"]["surprise"] = 1
    (folder / CARD_NAME).write_text(json.dumps(card))
    with pytest.raises(StartError, match=r"expected a model card, found training\.surprise: Extra inputs"):
        read_verified(folder)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"golden_set": ()}, "golden_set: Tuple should have at least 1 item"),
        ({"labels": ("Bag",) * 9}, "expected a probability of golden image 0 for each of the 9 labels, found 10"),
        (
            {"golden_set": (GoldenExample.model_construct(image="AAAA", probabilities=(), familiarity=0),)},
            r"golden_set\.0\.image: .+ expected 784 bytes in base64, found 3",
        ),
    ],
    ids=["no example", "a label is missing", "an image is cut"],
)
def test_a_card_whose_golden_set_cannot_be_replayed_is_refused(
    folder: Path, changes: dict[str, object], found: str
) -> None:
    read_verified(folder).model_copy(update=changes).write(folder)
    with pytest.raises(StartError, match=f"expected a model card, found .*{found}"):
        read_verified(folder)


def test_a_changed_file_is_named_with_both_digests(folder: Path) -> None:
    (folder / "saved_model.pb").write_bytes(b"another graph")
    expected, found = (hashlib.sha256(content).hexdigest() for content in (b"graph", b"another graph"))
    with pytest.raises(StartError, match=rf"saved_model.pb: expected SHA-256 {expected}, found SHA-256 {found}$"):
        read_verified(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "variables")
    with pytest.raises(StartError, match=r"variables/variables.index: expected SHA-256 \w+, found no such file$"):
        read_verified(folder)


def test_a_file_that_cannot_be_read_is_refused_in_one_line(folder: Path) -> None:
    (folder / "saved_model.pb").unlink()
    (folder / "saved_model.pb").symlink_to("/proc/self/mem")  # not even root can read its beginning
    with pytest.raises(StartError, match=rf"^{folder}: expected to read it, found Input/output error$"):
        read_verified(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_named(folder: Path) -> None:
    (folder / "saved_model.pb").chmod(0)
    with pytest.raises(StartError, match=r"saved_model.pb: expected to read it, found Permission denied$"):
        read_verified(folder)


def test_a_file_that_is_not_on_the_card_is_refused_because_tensorflow_might_read_it(folder: Path) -> None:
    (folder / "saved_model.pbtxt").write_bytes(b"another graph")
    with pytest.raises(StartError, match=r"saved_model.pbtxt: expected no such file, it is not on the card"):
        read_verified(folder)


def test_a_golden_image_survives_a_round_trip_through_json() -> None:
    image = np.arange(784, dtype=np.uint8).reshape(28, 28)
    example = GoldenExample.of(image, np.full(10, 0.1, np.float32), 0.5)
    again = GoldenExample.model_validate_json(example.model_dump_json())
    assert np.array_equal(again.pixels, image)
    assert (again.probabilities, again.familiarity) == (example.probabilities, 0.5)
