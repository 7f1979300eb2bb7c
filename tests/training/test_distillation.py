from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from training.config import DEFAULTS, DistillationConfig, PhotoConfig
from training.data import one_hot
from training.distillation import (
    Teacher,
    blend,
    read_teacher,
    require_same_held_out,
    soften,
    targets_of,
    taught,
    told_apart,
)
from training.errors import DataError
from training.job import train_and_export
from training.pictures.augmentation import batches
from training.pictures.mixture import Mixture
from training.pictures.photos import digest_of
from training.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import TrainingConfig
    from training.data import Data

CONFIG = DistillationConfig(("one",), temperature=1.0, trust=1.0, blends=2)


def sure_of(class_id: int, *, knows_photos: bool = False, digest: str = "one") -> Teacher:
    def probabilities(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.tile(np.where(np.arange(10) == class_id, 0.91, 0.01).astype(np.float32), (len(images), 1))

    share, photos = (0.2, digest_of([])) if knows_photos else (None, None)
    return Teacher(probabilities, digest, 0, share, photos, {})


def teacher_of(data: Data, held_out_share: float | None = None) -> Teacher:
    knows_photos = held_out_share is not None
    return replace(sure_of(0, knows_photos=knows_photos), held_out_share=held_out_share, data_digests=data.digests)


def photographs() -> Mixture:
    return replace(
        Mixture.of_nothing(),
        photos=np.full((3, 2, 28, 28), 9, np.uint8),
        targets=(rows := one_hot(np.array([4, 4, 4], np.uint8))),
        allowed=rows,
        chances=np.full(3, 1 / 3),
        disguised=np.zeros((300, 28, 28), np.uint8),
    )


def test_softening_divides_the_logarithms() -> None:
    logits = np.array([[2.0, 1.0, -1.0], [0.0, 0.0, 3.0]])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    softened = np.exp(logits / 2) / np.exp(logits / 2).sum(axis=1, keepdims=True)
    assert soften(probabilities.astype(np.float32), 2) == pytest.approx(softened, abs=1e-6)
    assert soften(np.array([1, 0], np.float32), 2) == pytest.approx([0.999, 0.001], abs=1e-4)


def test_a_label_gets_the_weight_that_the_teachers_are_not_trusted_with() -> None:
    answer = np.array([0.1, 0.3, 0.6] + [0] * 7, np.float32)
    label = np.array([1, 0, 0] + [0] * 7, np.float32)
    half = targets_of(answer, label, replace(CONFIG, trust=0.5))
    assert half[:3] == pytest.approx([0.55, 0.15, 0.3], abs=1e-4)
    assert targets_of(answer, label, CONFIG)[:3] == pytest.approx(answer[:3], abs=1e-4)


def test_softening_applies_to_the_answers_but_not_to_the_label() -> None:
    answer = np.array([0.04, 0.96] + [0] * 8, np.float32)
    label = np.array([1, 0] + [0] * 8, np.float32)
    softened = np.sqrt(answer[:2]) / np.sqrt(answer[:2]).sum()
    target = targets_of(answer, label, replace(CONFIG, trust=0.25, temperature=2.0))
    assert target[:2] == pytest.approx(0.75 * label[:2] + 0.25 * softened, abs=3e-3)


def test_within_a_set_of_labels_the_teachers_decide() -> None:
    answer = np.array([0.1, 0.3, 0.6] + [0] * 7, np.float32)
    either = np.array([0.5, 0.5, 0] + [0] * 7, np.float32)
    assert targets_of(answer, either, replace(CONFIG, trust=0.0))[:3] == pytest.approx([0.25, 0.75, 0], abs=1e-4)


def test_the_right_label_of_a_set_that_was_told_apart_gets_all_that_the_teachers_give_the_set() -> None:
    answers = np.array([[0.1, 0.3, 0.6] + [0] * 7] * 3, np.float32)
    labels = np.array([[1, 0, 0] + [0] * 7, [0.5, 0.5, 0] + [0] * 7, [0, 0, 1] + [0] * 7], np.float32)
    allowed = np.array([[1, 1, 0] + [0] * 7, [1, 1, 0] + [0] * 7, [0, 0, 1] + [0] * 7], np.float32)
    told = told_apart(answers, labels, allowed)
    assert told[0, :3] == pytest.approx([0.4, 0, 0.6])
    assert told[1:] == pytest.approx(answers[1:])  # not told apart


def test_a_blend_mixes_two_images_or_shows_a_box_of_the_other() -> None:
    images = np.stack([np.zeros((28, 28), np.uint8), np.full((28, 28), 200, np.uint8)])
    blends = blend(images, 400, np.random.default_rng(0))
    levels = [len(np.unique(image)) for image in blends]
    assert set(levels) == {1, 2}
    mixed = [image[0, 0] for image, count in zip(blends, levels, strict=True) if count == 1]
    assert len({int(grey) for grey in mixed} - {0, 200}) > 50
    boxed = np.stack([image for image, count in zip(blends, levels, strict=True) if count == 2]) > 0
    for image in boxed:
        box = image if not image.all(axis=1).any() and not image.all(axis=0).any() else ~image
        rows, columns = box.any(axis=1), box.any(axis=0)
        either = np.array_equal(box, rows[:, None] & columns) or np.array_equal(
            ~box, (~box).any(1)[:, None] & (~box).any(0)
        )
        assert either
    assert 0.2 < boxed.mean() < 0.8


def test_only_teachers_that_know_photographs_answer_for_them(data: Data, tmp_path: Path) -> None:
    teachers = [sure_of(0), sure_of(4, knows_photos=True, digest="two")]
    teaching = taught(photographs(), teachers, CONFIG, data.train, tmp_path).teaching
    assert teaching
    assert teaching.targets[:, 0] == pytest.approx(0.46, abs=1e-3)
    assert teaching.photo_targets.shape == (3, 2, 10)
    assert teaching.photo_targets[..., 4] == pytest.approx(0.91, abs=1e-3)
    assert teaching.blends.shape == (2 * 300 + 2 * 8 * 3, 28, 28)
    assert teaching.blend_targets[:600, 0] == pytest.approx(0.46, abs=1e-3)
    assert teaching.blend_targets[600:, 4] == pytest.approx(0.91, abs=1e-3)


@pytest.mark.parametrize("mirrors", [False, True])
def test_a_teacher_that_does_not_mirror_images_itself_is_asked_about_mirror_images(*, mirrors: bool) -> None:
    def left_half(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.tile(images[:, :, :14].mean(axis=(1, 2), dtype=np.float32)[:, None], (1, 10))

    images = np.zeros((2, 28, 28), np.uint8)
    images[:, :, :14] = 100
    teacher = replace(sure_of(0), probabilities=left_half, mirrors=mirrors)
    assert teacher.both_ways(images) == pytest.approx(100 if mirrors else 50)
    assert teacher.both_ways(images).dtype == np.float32


def test_photographs_require_a_teacher_that_learnt_from_some(data: Data, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="learnt from photographs"):
        taught(photographs(), [sure_of(0)], CONFIG, data.train, tmp_path)


def test_a_teacher_that_held_out_the_same_is_accepted_whether_it_knows_photographs_or_not(data: Data) -> None:
    config = DEFAULTS["mlp"].override(distillation=CONFIG, photos=PhotoConfig())
    for share in (None, 0.2):
        require_same_held_out([teacher_of(data, held_out_share=share)], config, data)
    require_same_held_out([teacher_of(data, held_out_share=0.1)], replace(config, photos=None), data)


@pytest.mark.parametrize(
    ("held_out", "expected"),
    [
        ({"split_seed": 1}, "teacher one: expected split_seed 0, received 1"),
        ({"held_out_share": 0.1}, "teacher one: expected held_out_share 0.2, received 0.1"),
        ({"photos_digest": "other"}, "teacher one: expected the photographs of this run, received a model of others"),
        ({"data_digests": {}}, "teacher one: expected the files of the data set that this run reads"),
        ({"digest": "other"}, "expected the config's teachers, one, received other"),
    ],
)
def test_a_teacher_that_may_know_what_is_held_out_is_refused(
    data: Data, held_out: dict[str, Any], expected: str
) -> None:
    config = DEFAULTS["mlp"].override(distillation=CONFIG, photos=PhotoConfig())
    with pytest.raises(DataError, match=expected):
        require_same_held_out([replace(teacher_of(data, held_out_share=0.2), **held_out)], config, data)


def test_the_job_refuses_teachers_that_its_config_does_not_name(
    data: Data, quick: TrainingConfig, tmp_path: Path
) -> None:
    for config, teachers in ((quick.override(distillation=CONFIG), []), (quick, [teacher_of(data)])):
        with pytest.raises(DataError, match="expected the config's teachers"):
            train_and_export(config, data, tmp_path, tmp_path / "models" / "sample" / "1", teachers=teachers)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("config", "held_out"),
    [
        ({"seed": 3}, (3, None)),
        ({"seed": 3, "split_seed": 0}, (0, None)),
        ({"seed": 3, "photos": None}, (3, None)),
        ({"seed": 3, "photos": {"held_out_share": 0.4}}, (3, 0.4)),
    ],
)
def test_what_a_teacher_held_out_is_read_from_its_card_however_old(
    artifact: Path, data: Data, tmp_path: Path, config: dict[str, Any], held_out: tuple[int, float | None]
) -> None:
    folder = shutil.copytree(artifact, tmp_path / "teacher")
    card = json.loads((folder / "model_card.json").read_text())
    card |= {"photos": {"digest": "all of them"}, "training": card["training"] | {"config": config}}
    (folder / "model_card.json").write_text(json.dumps(card))
    teacher = read_teacher(folder)
    assert (teacher.split_seed, teacher.held_out_share) == held_out
    assert teacher.photos_digest == (None if held_out[1] is None else "all of them")
    assert teacher.data_digests == data.digests


def test_a_teacher_that_has_since_learnt_from_photographs_is_asked_again(data: Data, tmp_path: Path) -> None:
    both = sure_of(0), sure_of(4, knows_photos=True, digest="two")
    taught(photographs(), both, CONFIG, data.train, tmp_path)
    teaching = taught(
        photographs(), [replace(both[0], held_out_share=0.2), both[1]], CONFIG, data.train, tmp_path
    ).teaching
    assert teaching
    assert teaching.photo_targets[..., 4] == pytest.approx(0.46, abs=1e-3)


def test_the_teachers_answers_are_kept_for_runs_that_ask_the_same(data: Data, tmp_path: Path) -> None:
    first = taught(Mixture.of_nothing(), [sure_of(0)], CONFIG, data.train, tmp_path)
    asked_again = taught(Mixture.of_nothing(), [sure_of(1)], replace(CONFIG, trust=0.9), data.train, tmp_path)
    another = taught(Mixture.of_nothing(), [sure_of(1, digest="other")], CONFIG, data.train, tmp_path)
    assert first.teaching
    assert asked_again.teaching
    assert another.teaching
    assert np.array_equal(first.teaching.blend_targets, asked_again.teaching.blend_targets)
    assert another.teaching.blend_targets[:, 1] == pytest.approx(0.91, abs=1e-3)


def test_answers_are_kept_for_each_teacher_separately(data: Data, tmp_path: Path) -> None:
    taught(Mixture.of_nothing(), [sure_of(0), sure_of(1, digest="other")], CONFIG, data.train, tmp_path)
    teaching = taught(
        Mixture.of_nothing(), [sure_of(9), sure_of(2, digest="new")], CONFIG, data.train, tmp_path
    ).teaching
    assert teaching
    assert teaching.blend_targets[:, [0, 2]] == pytest.approx(0.46, abs=1e-3)


def test_a_batch_holds_images_photographs_and_blends_with_the_teachers_targets(data: Data, tmp_path: Path) -> None:
    distillation = replace(CONFIG, blended_share=0.4)
    config = DEFAULTS["mlp"].override(
        batch_size=50, distillation=distillation, photos=PhotoConfig(share=0.5, disguised_share=0.0)
    )
    teachers = [sure_of(7, knows_photos=True)]
    mixture = taught(photographs(), teachers, distillation, data.train, tmp_path)
    images, targets = next(batches(data.train.images, one_hot(data.train.class_ids), config, mixture=mixture))
    assert (config.images_a_batch, config.photos_a_batch, config.blends_a_batch) == (15, 15, 20)
    assert len(images) == len(targets) == 50
    assert targets[:, 7] == pytest.approx(0.91, abs=1e-3)
    assert (images[15:30] == 9).all()
    known = {image.tobytes() for image in data.train.images}
    assert sum(image.tobytes() in known for image in images[:15]) == 15
    assert sum(image.tobytes() in known for image in images[30:]) < 15


def test_a_network_learns_the_answers_of_its_teacher_rather_than_the_labels(data: Data, tmp_path: Path) -> None:
    config = DEFAULTS["mlp"].override(batch_size=50, epochs=2, distillation=CONFIG)
    mixture = taught(Mixture.of_nothing(), [sure_of(7)], CONFIG, data.train, tmp_path)
    network, _ = train(config, data, tmp_path / "run", mixture=mixture)
    answers = network.predict(data.validation.images, verbose=0).argmax(axis=1)
    assert (data.validation.class_ids == 7).mean() == 0.1
    assert (answers == 7).mean() > 0.95


def test_an_artifact_of_the_job_teaches_the_next_one(
    artifact: Path, data: Data, quick: TrainingConfig, tmp_path: Path
) -> None:
    teacher = read_teacher(artifact)
    assert not teacher.knows_photos
    config = quick.override(distillation=DistillationConfig((teacher.digest,), blends=1))
    card = train_and_export(config, data, tmp_path / "run", tmp_path / "models" / "sample" / "1", teachers=[teacher])
    assert card.training.config["distillation"]["teachers"] == (teacher.digest,)
    assert card.sharpening.label_smoothing == 0
    assert card.sharpening.temperature != 1


def test_a_folder_that_is_not_an_artifact_is_refused_as_a_teacher(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected an artifact to learn from"):
        read_teacher(tmp_path)
