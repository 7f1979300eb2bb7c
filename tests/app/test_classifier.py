from __future__ import annotations

import math
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.classifier import Answers, SavedModel, SavedModelClassifier
from app.errors import StartError
from app.model_card import CARD_NAME, ModelCard, file_digests, read_verified

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from app.model_card import GoldenExample
    from training.data import Data


@pytest.fixture
def copy(artifact: Path, tmp_path: Path) -> Path:
    return shutil.copytree(artifact, tmp_path / "copy")


def rewritten(folder: Path, **changes: object) -> ModelCard:
    """Change an artifact's card; its digests still match."""
    card = read_verified(folder).model_copy(update=changes)
    card.write(folder)
    return card


def test_a_loaded_artifact_answers_with_ten_probabilities_that_sum_to_one(artifact: Path, data: Data) -> None:
    probabilities, familiarity = SavedModelClassifier(artifact, batch_sizes=(1, 4)).classify(data.test.images)
    assert familiarity.shape == (100,)
    assert familiarity.dtype == np.float32
    assert familiarity.min() >= 0
    assert familiarity.max() <= 1
    assert probabilities.shape == (100, 10)
    assert probabilities.dtype == np.float32
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(100), abs=1e-5)


def test_the_time_of_a_batch_is_known_for_the_sizes_that_were_warmed_up(artifact: Path) -> None:
    classifier = SavedModelClassifier(artifact, batch_sizes=(1, 4))
    assert all(0 < classifier.seconds(images) < 1 for images in (1, 4))
    assert classifier.seconds(3) == math.inf


def test_a_batch_gets_the_same_answers_as_its_images_one_by_one(artifact: Path, data: Data) -> None:
    classifier = SavedModelClassifier(artifact)
    singles = [classifier.classify(image[None]) for image in data.test.images]
    for together, apart in zip(classifier.classify(data.test.images), zip(*singles, strict=True), strict=True):
        assert together == pytest.approx(np.concatenate(apart), abs=1e-5)


def test_tensorflow_alone_serves_the_same_folder_with_the_same_answers(artifact: Path, data: Data) -> None:
    import tensorflow as tf  # noqa: PLC0415  most tests do without

    signature = tf.saved_model.load(str(artifact)).signatures["serving_default"]
    assert signature.structured_input_signature[1]["images"].dtype == tf.uint8
    assert signature.structured_input_signature[1]["images"].shape.as_list() == [None, 28, 28]
    alone = signature(images=tf.constant(data.test.images))
    answers = SavedModelClassifier(artifact).classify(data.test.images)
    assert alone.keys() == set(answers._fields)
    for name, values in answers._asdict().items():
        assert np.array_equal(alone[name].numpy(), values)


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ("probabilities", lambda golden: golden[4].probabilities),
        ("familiarity", lambda golden: (golden[3].familiarity + 0.5) % 1),
    ],
)
def test_an_artifact_that_does_not_answer_as_its_card_says_is_refused(
    copy: Path, changed: str, value: Callable[[tuple[GoldenExample, ...]], object]
) -> None:
    golden = read_verified(copy).golden_set
    other = golden[3].model_copy(update={changed: value(golden)})
    rewritten(copy, golden_set=(*golden[:3], other, *golden[4:]))
    with pytest.raises(StartError, match=r"expected the answer on the card for golden image 3, within 0\.001"):
        SavedModelClassifier(copy)


def test_an_artifact_that_answers_with_nan_is_refused(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classify = SavedModel.classify

    def of_nothing(model: SavedModel, images: NDArray[np.uint8]) -> Answers:
        answers = classify(model, images)
        return answers._replace(familiarity=answers.familiarity + np.float32("nan"))

    monkeypatch.setattr(SavedModel, "classify", of_nothing)
    with pytest.raises(StartError, match=r"golden image 0, within .+ found a difference of nan"):
        SavedModelClassifier(artifact)


def test_a_model_with_more_classes_than_the_card_has_labels_is_refused(copy: Path) -> None:
    card = read_verified(copy)
    cut = tuple(one.model_copy(update={"probabilities": one.probabilities[:9]}) for one in card.golden_set)
    rewritten(copy, labels=card.labels[:9], golden_set=cut)
    with pytest.raises(StartError, match="expected a probability for each of the 9 labels on the card, found 10"):
        SavedModelClassifier(copy)


def test_a_model_with_another_input_shape_is_refused(copy: Path) -> None:
    rewritten(copy, input_shape=(32, 32))
    with pytest.raises(StartError, match=r"expected a model of \(28, 28\) images, found one of \(32, 32\)"):
        SavedModelClassifier(copy)


def test_a_folder_with_a_correct_card_but_no_saved_model_is_refused(copy: Path) -> None:
    (copy / "saved_model.pb").write_bytes(b"something else")
    card = ModelCard.model_validate_json((copy / CARD_NAME).read_bytes())
    card.model_copy(update={"files": file_digests(copy)}).write(copy)
    with pytest.raises(StartError, match=r"expected a SavedModel with serving_default, found"):
        SavedModelClassifier(copy)


def test_a_pass_uses_the_callers_thread_and_no_more_cores_than_it_may(artifact: Path) -> None:
    """It runs in a separate process, since the first model of a process sets the number of threads for all."""
    program = f"""
import resource
from pathlib import Path
import numpy as np
from app.classifier import SavedModelClassifier
classifier, images = SavedModelClassifier(Path({str(artifact)!r}), (1,), threads=1), np.zeros((1, 28, 28), np.uint8)
all_threads, own = (resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_THREAD))
while resource.getrusage(resource.RUSAGE_THREAD).ru_utime < own + 0.3:
    classifier.classify(images)
print((resource.getrusage(resource.RUSAGE_SELF).ru_utime - all_threads) / 0.3)
"""
    used = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert float(used.stdout) == pytest.approx(1, abs=0.1)
    assert "deprecated" not in used.stderr
