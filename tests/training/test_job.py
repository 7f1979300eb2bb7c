from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.classifier import SavedModelClassifier
from app.main import create_app
from app.model_card import read_verified
from app.settings import Settings
from tests.conftest import encoded
from training import data as data_module
from training import job
from training.__main__ import main
from training.config import DEFAULTS, DistillationConfig, PhotoConfig
from training.data import LABELS
from training.errors import DataError, TrainingError
from training.job import train_and_export
from training.pictures.photos import convert_photo, list_photos, split_photos
from training.trust.corruptions import CORRUPTIONS, measure_corruption
from training.trust.familiarity import fit_head

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from training.config import TrainingConfig
    from training.data import Data

    Images = NDArray[np.uint8]


def test_the_card_records_the_network_the_training_and_the_metrics(
    artifact: Path, quick: TrainingConfig, data: Data
) -> None:
    card = read_verified(artifact)
    assert (card.name, card.version, card.labels) == ("sample", "1", LABELS)
    assert (card.network.parameters, card.network.multiply_accumulates) == (101_770, 101_632)
    assert card.training.config == quick.as_dict()
    assert card.training.epochs == 1
    assert card.training.data_digests == data.digests
    assert set(card.training.versions) == {"python", "keras", "numpy", "tensorflow"}
    assert {name: split.n for name, split in card.metrics.items()} == {"validation": 100, "test": 100}
    low, high = card.metrics["test"].accuracy_interval_95
    assert low < card.metrics["test"].accuracy < high
    assert len(card.golden_set) == 10
    assert [one.coverage for one in card.prediction_sets] == [0.9, 0.95, 0.99]
    assert {one.images for one in card.familiarity.separations} >= {"upside down", "noise", "handwritten digits"}


def test_the_intended_share_of_validation_images_is_called_unfamiliar(artifact: Path, data: Data) -> None:
    answers = SavedModelClassifier(artifact).classify(data.validation.images)
    facts = read_verified(artifact).familiarity
    assert facts.flagged["validation"] == (answers.familiarity < facts.threshold).mean()
    assert facts.flagged["validation"] == pytest.approx(0.05, abs=0.011)  # one of 100 images either way
    assert np.sort(answers.familiarity) == pytest.approx(np.linspace(0, 1, 100), abs=0.02)


def test_the_metrics_on_the_card_are_those_of_the_exported_graph(artifact: Path, data: Data) -> None:
    predicted = SavedModelClassifier(artifact).classify(data.test.images).probabilities.argmax(axis=1)
    assert read_verified(artifact).metrics["test"].accuracy == (predicted == data.test.class_ids).mean()


def test_the_cost_of_damage_is_measured_on_the_exported_graph(artifact: Path, data: Data) -> None:
    classifier, card = SavedModelClassifier(artifact), read_verified(artifact)
    kind = "impulse noise, share"
    assert list(card.corruptions) == list(CORRUPTIONS)
    assert card.corruptions[kind] == measure_corruption(classifier.classify, data.test, kind)


def test_calibration_is_measured_before_and_after(artifact: Path) -> None:
    card = read_verified(artifact)
    before, after = card.uncalibrated, card.metrics["test"]
    assert before is not None
    assert before.negative_log_likelihood != after.negative_log_likelihood
    assert before.ece_equal_mass != after.ece_equal_mass


def test_the_golden_set_has_one_validation_image_of_each_class(artifact: Path, data: Data) -> None:
    images, class_ids = data.validation.images, data.validation.class_ids
    validation = {image.tobytes(): class_id for image, class_id in zip(images, class_ids, strict=True)}
    golden = read_verified(artifact).golden_set
    assert [validation[example.pixels.tobytes()] for example in golden] == list(range(10))


def test_the_service_serves_what_the_job_exported_and_agrees_with_tensorflow(artifact: Path, data: Data) -> None:
    classifier = SavedModelClassifier(artifact)
    expected = classifier.classify(data.test.images).probabilities
    with TestClient(create_app(Settings(), classifier)) as client:
        for image, row in zip(data.test.images[:20], expected, strict=False):
            for body in (encoded(image), image.tobytes()):
                response = client.post("/predict", content=body, headers={"Content-Type": "application/octet-stream"})
                served = [entry["probability"] for entry in response.json()["probabilities"]]
                assert served == pytest.approx(row.tolist(), abs=1e-5)


def test_the_report_is_beside_the_artifact_with_pictures_that_are_not_blank(artifact: Path) -> None:
    report = artifact.parent / "report-1"
    page = (report / "README.md").read_text()
    assert page.startswith("# sample 1\n")
    assert f"{read_verified(artifact).metrics['test'].accuracy:.2%}" in page
    assert "| upside down | yes | 100 | " in page
    assert "| handwritten digits | no | 1,797 | " in page
    for name in ("curves", "confusion", "sheet", "reliability", "mistakes", "unfamiliar"):
        assert f"({name}.png)" in page
        with Image.open(report / f"{name}.png") as picture:
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10


@pytest.mark.usefixtures("restored_logging")
def test_the_command_refuses_a_folder_without_data_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"training: {tmp_path}: expected the four IDX files")


@pytest.mark.parametrize("wrong", [["--epochs", "0"], ["--epochs", "-3"], ["--seed", "-1"]])
def test_the_command_refuses_meaningless_numbers(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(wrong)
    assert f"invalid {'natural' if '--seed' in wrong else 'positive'} value: '{wrong[1]}'" in capsys.readouterr().err


@pytest.mark.usefixtures("restored_logging")
def test_every_option_of_the_command_reaches_the_job(
    artifact: Path, data: Data, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[tuple[Any, ...]] = []
    monkeypatch.setattr(job, "train_and_export", lambda *given: received.append(given))
    monkeypatch.setattr(data_module, "find_folder", lambda folder: folder)
    monkeypatch.setattr(data_module, "load", lambda folder, seed: {("idx", 0): data}[str(folder), seed])
    options = "--network tiny --epochs 3 --seed 5 --precision float32 --data idx --runs kept --output models/mine/2"
    assert main([*options.split(), "--photos", str(photo_folder), "--teacher", str(artifact), "--continue"]) == 0
    assert main(["--network", "mlp", "--data", "idx"]) == 0
    (config, given_data, runs, output, photos, teachers), (plain, *_, default_output, none, nobody) = received
    graph = hashlib.sha256((artifact / "saved_model.pb").read_bytes()).hexdigest()
    assert config == DEFAULTS["tiny"].override(
        epochs=3,
        seed=5,
        precision="float32",
        photos=PhotoConfig(),
        distillation=DistillationConfig((graph,), continued=True),
        label_smoothing=0.0,
    )
    assert given_data is data
    assert (runs, output) == (Path("kept"), Path("models/mine/2"))
    assert photos == list_photos(photo_folder)
    assert [(teacher.digest, teacher.folder) for teacher in teachers] == [(graph, artifact)]
    assert (plain, default_output, none, nobody) == (DEFAULTS["mlp"], Path("models/fashion-mnist-mlp/1"), [], [])


@pytest.mark.usefixtures("restored_logging")
@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "the same command goes on"),
        (OSError(28, "No space left on device", "runs/a"), 1, "No space left on device: 'runs/a'"),
    ],
    ids=["Ctrl-C", "full disk"],
)
def test_the_command_ends_in_one_line_when_it_is_stopped_or_out_of_space(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(job, "train_and_export", fail)
    monkeypatch.setattr(data_module, "find_folder", lambda _: Path())
    monkeypatch.setattr(data_module, "load", lambda *_: None)
    assert main([]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("training: ")
    assert said in line


@pytest.mark.parametrize("name", ["thesis", "models/mine"])
def test_a_folder_that_is_not_an_artifact_is_never_replaced(
    name: str, tmp_path: Path, data: Data, quick: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "chapter.txt").write_text("years of work")
    with pytest.raises(TrainingError, match=rf"^{name}: expected a folder NAME/VERSION that is new, empty or"):
        train_and_export(quick, data, tmp_path / "runs", Path(name))
    assert (tmp_path / name / "chapter.txt").read_text() == "years of work"
    assert not (tmp_path / "runs").exists()


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert all(option in printed for option in ("--network", "--epochs", "--seed", "--output", "--data", "--precision"))


def test_photographs_are_learnt_from_and_the_card_and_the_report_say_so(
    tmp_path: Path, data: Data, quick: TrainingConfig, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[tuple[int, ...]] = []

    def fit_noting(
        network: keras.Model, images: Images, photos: Images, unfamiliar: Images, config: TrainingConfig
    ) -> keras.Sequential:
        taught.append((len(images), len(photos), len(unfamiliar)))
        return fit_head(network, images, photos, unfamiliar, config)

    monkeypatch.setattr("training.job.fit_head", fit_noting)
    config = quick.override(photos=PhotoConfig(variants=1, collages=4, held_out_share=0.3))
    artifact = tmp_path / "models" / "sample" / "1"
    _, held_out = split_photos(list_photos(photo_folder), 0.3, seed=0)
    card = train_and_export(config, data, tmp_path / "run", artifact, list_photos(photo_folder))
    assert read_verified(artifact) == card
    assert card.photos
    assert card.photos.learnt_from + card.photos.held_out == 20
    assert all(one.photos_coverage is not None for one in card.prediction_sets)
    assert card.familiarity.separations[-1].n == sum(photo.folder == "hat" for photo in held_out)
    assert "photographs" in card.familiarity.flagged
    assert {name: one.n for name, one in card.photos.folders.items()}.keys() == {"pants", "t-shirt"}
    assert card.training.config["photos"]["held_out_share"] == 0.3
    (kept,) = (tmp_path / "run").glob("mixture-*.npz")
    with np.load(kept) as converted:
        seen = {image.tobytes() for image in converted["photos"][:, 0]}
    assert len(seen) == 20 + 10 - len(held_out)
    assert not seen & {convert_photo(photo).image.tobytes() for photo in held_out}
    unknown = sum(photo.folder == "hat" for photo in list_photos(photo_folder)) - card.familiarity.separations[-1].n
    assert taught == [(len(data.train.images), 2 * card.photos.learnt_from, 2 * unknown + 4)]
    page = (tmp_path / "models/sample/report-1/README.md").read_text()
    assert f"trained on {card.photos.learnt_from} photographs" in page


@pytest.mark.parametrize(("kinds", "share"), [({"hat"}, 0.3), ({"hat", "pants"}, 0.0), ({"hat", "pants"}, 1.0)])
def test_photographs_that_cannot_be_measured_or_learnt_from_are_refused_before_training(
    tmp_path: Path, data: Data, quick: TrainingConfig, photo_folder: Path, kinds: set[str], share: float
) -> None:
    config = quick.override(photos=PhotoConfig(held_out_share=share))
    photos = [photo for photo in list_photos(photo_folder) if photo.folder in kinds]
    with pytest.raises(DataError, match="expected photographs of garments that have a class"):
        train_and_export(config, data, tmp_path, tmp_path / "models" / "sample" / "1", photos)
    assert not [*tmp_path.iterdir()]
