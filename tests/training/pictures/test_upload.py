from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from app.http.pages import WEB
from app.imaging.conversion import Mode, convert
from app.imaging.decode import decode
from app.model_card import read_verified
from app.predictor import Predictor
from app.settings import Settings
from benchmarks.photos import answer
from tests.fakes import FirstPixelClassifier
from training.config import PhotoConfig
from training.pictures.mixture import prepare
from training.pictures.photos import Photo, convert_photo
from training.pictures.upload import answer_uploads, convert_upload

if TYPE_CHECKING:
    from pathlib import Path

    from training.data import Data


@pytest.fixture
def cut_out() -> bytes:
    """Return a PNG of white trousers on a transparent ground; laid on white, nothing of them would be left."""
    drawing, file = Image.new("RGBA", (90, 120)), io.BytesIO()
    drawing.paste("white", (30, 10, 42, 110))
    drawing.paste("white", (48, 10, 60, 110))
    drawing.paste("white", (30, 10, 60, 40))
    drawing.save(file, "PNG")
    return file.getvalue()


def test_a_cut_out_is_told_from_its_ground_by_transparency(cut_out: bytes) -> None:
    decoded = decode(cut_out, "image/png", 10**6)
    served = convert(decoded.pixels, Mode.AUTO, decoded.opacity)
    converted = convert_upload(cut_out)
    assert (converted.mode, converted.steps) == (served.mode, served.steps)
    assert np.array_equal(converted.image, served.image)
    assert converted.image.any()


def test_an_upload_gets_the_answer_that_the_service_gives(cut_out: bytes) -> None:
    classifier = FirstPixelClassifier()
    shipped = read_verified(Settings().model_dir).photos
    assert shipped
    assert shipped.temperature != 1
    classifier.card = classifier.card.model_copy(update={"photos": shipped})
    files = [cut_out, (WEB / "samples" / "sweater.jpg").read_bytes()]
    answers = answer_uploads(classifier, [convert_upload(file) for file in files])
    service = Predictor(classifier, Settings(), 1)
    for file, probabilities, familiarity in zip(files, *answers, strict=True):
        served = asyncio.run(service.predict(file, "", Mode.AUTO))
        assert [one["probability"] for one in served["probabilities"]] == probabilities.tolist()
        assert served["familiarity"] == familiarity
    service.close()


def test_training_and_measuring_convert_a_cut_out_as_the_service_does(
    cut_out: bytes, data: Data, tmp_path: Path
) -> None:
    photo = Photo(tmp_path / "a.png", "pants")
    photo.path.write_bytes(cut_out)
    served = convert_upload(cut_out).image
    learnt = prepare(PhotoConfig(variants=0, collages=1), 0, data.train.images[:1], [photo], tmp_path).photos
    assert np.array_equal(learnt, served[None, None])
    assert np.array_equal(convert_photo(photo).image, served)
    assert np.array_equal(answer(photo, FirstPixelClassifier()).image, served)
