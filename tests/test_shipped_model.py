"""What lies in models/: the artifact that is served when nobody has trained anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.batching import batch_sizes
from app.classifier import SavedModelClassifier
from app.main import create_app
from app.model_card import read_verified
from app.settings import Settings
from tests.conftest import encoded
from training.config import DEFAULTS, Distortion, PhotoConfig, TrainingConfig
from training.data import DIGESTS, LABELS, Data

SHIPPED = Path(Settings().model_dir)


@pytest.fixture(scope="module")
def shipped() -> SavedModelClassifier:
    return SavedModelClassifier(SHIPPED, batch_sizes(Settings().max_forward_images))


def test_it_keeps_its_budget() -> None:
    card = read_verified(SHIPPED)
    assert card.network.parameters <= 600_000
    assert card.network.multiply_accumulates <= 30_000_000
    assert card.training.minutes < 60
    assert sum(file.stat().st_size for file in SHIPPED.rglob("*")) <= 5 * 2**20


def test_it_was_trained_by_the_documented_config_on_the_published_files_and_photographs() -> None:
    training = read_verified(SHIPPED).training
    given = training.config["photos"]
    photos = PhotoConfig(**given | {"distortion": Distortion(**given["distortion"])})
    config = TrainingConfig(**training.config | {"photos": photos})
    documented = DEFAULTS["cnn"].override(epochs=28, photos=PhotoConfig())
    assert config.override(precision="float32") == documented
    assert training.data_digests == DIGESTS


def test_its_card_claims_what_the_issue_of_accuracy_asks() -> None:
    card = read_verified(SHIPPED)
    assert card.metrics["test"].n == 10_000
    assert card.metrics["validation"].n == 5_000
    assert card.metrics["test"].accuracy >= 0.94
    assert card.photos
    assert card.photos.learnt_from > 3 * card.photos.held_out > 0


def test_it_is_right_on_real_test_images_about_as_often_as_its_card_says(
    shipped: SavedModelClassifier, data: Data
) -> None:
    right = (shipped.classify(data.test.images).argmax(axis=1) == data.test.class_ids).mean()
    assert right >= shipped.card.metrics["test"].accuracy - 0.07  # three standard errors of 100 images


def test_it_gives_an_image_the_same_answer_in_a_batch_of_any_size(shipped: SavedModelClassifier, data: Data) -> None:
    together = shipped.classify(data.test.images)
    for size in (1, 2, 7, 32):
        assert shipped.classify(data.test.images[:size]) == pytest.approx(together[:size], abs=1e-4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "RAW"])
def test_real_test_images_are_answered_however_they_are_encoded(
    shipped: SavedModelClassifier, data: Data, kind: str
) -> None:
    with TestClient(create_app(Settings(), shipped)) as client:
        right = 0
        for image, class_id in zip(data.test.images, data.test.class_ids, strict=True):
            body = image.tobytes() if kind == "RAW" else encoded(image, kind)
            answer = client.post("/predict", content=body, headers={"Content-Type": "application/octet-stream"}).json()
            probabilities = np.array([entry["probability"] for entry in answer["probabilities"]])
            assert probabilities.sum() == pytest.approx(1, abs=1e-5)
            assert [entry["label"] for entry in answer["probabilities"]] == list(shipped.card.labels) == list(LABELS)
            assert answer["prediction"] == answer["probabilities"][probabilities.argmax()]
            right += answer["prediction"]["class_id"] == class_id
        assert right >= 85
