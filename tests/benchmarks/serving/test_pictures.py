from __future__ import annotations

import io
import multiprocessing
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.classifier import SavedModelClassifier
from app.http.pages import WEB
from app.imaging.conversion import Mode, convert
from app.imaging.decode import decode
from app.main import create_app
from app.settings import Settings
from benchmarks.serving.alone import Alone
from benchmarks.serving.pictures import native_images, photograph, png
from benchmarks.serving.systems import MULTIPART, form, open_inference, ranked, tensor
from tests.fakes import tagged_image

if TYPE_CHECKING:
    from pathlib import Path

    from training.data import Data


def test_without_the_data_set_the_pictures_come_from_the_sample_of_the_tests(data: Data, tmp_path: Path) -> None:
    images = native_images(300, known=[tmp_path])
    assert images.shape == (300, 28, 28)
    assert np.array_equal(images[:100], data.test.images)
    assert len({image.tobytes() for image in images}) == 300


def test_a_native_picture_is_the_image_itself(data: Data) -> None:
    with Image.open(io.BytesIO(png(data.test.images[0]))) as picture:
        assert np.array_equal(np.asarray(picture), data.test.images[0])


@pytest.mark.parametrize("size", [(400, 533), (100, 100)])
def test_a_photograph_is_converted_as_one(data: Data, size: tuple[int, int]) -> None:
    decoded = decode(photograph(data.test.images[0], size, np.random.default_rng(0)), "", 10**8)
    assert (decoded.format, (decoded.width, decoded.height)) == ("JPEG", size)
    assert convert(decoded.pixels, Mode.AUTO).mode == "photo"


def test_our_own_service_accepts_the_form_and_its_answer_can_be_read(client: TestClient) -> None:
    body = form("file")(png(tagged_image(3)))
    answer = client.post("/predict", content=body, headers={"Content-Type": MULTIPART})
    assert np.argmax(ranked(answer.json())) == 3


def test_the_open_inference_protocol_has_the_picture_in_base64() -> None:
    assert b'"data": ["cGljdHVyZQ=="]' in open_inference(b"picture")
    assert tensor({"outputs": [{"data": [0, 1]}]}) == [0.0, 1.0]


def test_parts_are_timed_in_as_many_processes_as_there_are_cores(data: Data) -> None:
    pictures = [png(image) for image in data.test.images[:3]]
    before = {process.pid for process in multiprocessing.active_children()}
    with Alone(2) as alone:
        assert alone.convert(pictures, seconds=0.05) > 0
        assert len({process.pid for process in multiprocessing.active_children()} - before) == 2


def test_the_answer_expected_for_a_photograph_is_that_of_the_service() -> None:
    sweater, artifact = (WEB / "samples" / "sweater.jpg").read_bytes(), Settings().model_dir
    with Alone(1) as alone:
        (expected,) = alone.probabilities(artifact, [sweater])
    with TestClient(create_app(Settings(), SavedModelClassifier(artifact))) as client:
        said = ranked(client.post("/predict", content=sweater).json())
    np.testing.assert_allclose(said, expected, atol=1e-4)
