"""Fixtures and helpers that several tests share."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import socket
import sys
import threading
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest
import structlog
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image

from app.cores import available_cores
from app.main import create_app
from app.settings import PREFIX, Settings
from app.telemetry.logs import configure_logging
from tests.fakes import FirstPixelClassifier
from training.config import DEFAULTS
from training.data import Data, Split, stratified_split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from starlette.types import ASGIApp

    from training.config import TrainingConfig

for name in list(os.environ):  # the machine's own settings and proxies would break tests or make them meaningless
    if name.upper().startswith(PREFIX) or name.lower().endswith("_proxy"):
        del os.environ[name]

collect_ignore = [] if find_spec("playwright") else ["browser"]  # `make test-browser` installs it

hypothesis.settings.register_profile("quick", deadline=None, derandomize=True, database=None, max_examples=50)
hypothesis.settings.register_profile("long", deadline=None, max_examples=5_000)  # different examples each time
hypothesis.settings.load_profile("quick")  # unless pytest is given --hypothesis-profile=long

UNTRACED = {"benchmarks", "deploy", "fuzz", "test_every_picture.py", "test_shipped_model.py"}
"""Folders and files whose tests take long with coverage, and cover nothing that others do not."""

SAMPLE = Path(__file__).parent / "fixtures" / "fashion_mnist_sample.npz"
"""400 training and 100 test images of Fashion-MNIST (MIT License), the first of each class."""


def pytest_xdist_auto_num_workers() -> int:
    """Return one worker more than there are cores, since many tests only wait."""
    return available_cores() + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have pytest-cov pause during the tests of `UNTRACED`, unless it does nothing anyway."""
    for item in items:
        if UNTRACED & {*item.path.relative_to(Path(__file__).parent).parts} and not config.option.no_cov:
            item.add_marker("no_cover")


@pytest.fixture(scope="session")
def data() -> Data:
    with np.load(SAMPLE) as sample:
        train, validation = stratified_split(Split(sample["train_images"], sample["train_class_ids"]), 100, seed=0)
        digests = {SAMPLE.name: hashlib.sha256(SAMPLE.read_bytes()).hexdigest()}
        return Data(train, validation, Split(sample["test_images"], sample["test_class_ids"]), digests)


@pytest.fixture(scope="session")
def quick() -> TrainingConfig:
    """Return a config that trains in a second."""
    return DEFAULTS["mlp"].override(epochs=1, batch_size=50)


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory, data: Data, quick: TrainingConfig) -> Path:
    """Return an artifact made by the whole training job, with its report beside it."""
    from training.job import train_and_export  # noqa: PLC0415  imports TensorFlow, which most tests do not need

    folder = tmp_path_factory.mktemp("job")
    train_and_export(quick, data, folder / "run", folder / "models" / "sample" / "1")
    return folder / "models" / "sample" / "1"


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of drawn photographs: ten of trousers, ten of T-shirts, ten of hats."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for kind, boxes in {
        "pants": ((30, 20, 45, 100), (55, 20, 70, 100)),
        "t-shirt": ((30, 20, 70, 100), (10, 20, 90, 45)),
        "hat": ((20, 60, 80, 90),),
    }.items():
        (folder / kind).mkdir()
        for number in range(10):
            picture = Image.new("RGB", (100, 120), tuple(rng.integers(150, 220, 3).tolist()))
            for box in boxes:
                picture.paste(tuple(rng.integers(0, 90, 3).tolist()), box)
            picture.resize((300, 360)).save(folder / kind / f"{number}.jpg")
    return folder


@pytest.fixture
def classifier() -> FirstPixelClassifier:
    return FirstPixelClassifier()


@pytest.fixture
def client(classifier: FirstPixelClassifier) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(), classifier)) as client:
        yield client


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Yield the URL of a running service."""
    with listening(create_app(Settings(), FirstPixelClassifier())) as url:
        yield url


@contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """Serve an app on a free local port in a thread, with its lifespan if it has one, and yield the URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        free.listen(128)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [free]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{free.getsockname()[1]}"  # the socket already listens, so an early client waits
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


@pytest.fixture
def quiet(restored_logging: None) -> None:  # noqa: ARG001  undoes what this does
    """Keep the log of a service that runs in this process out of a command's output."""
    configure_logging(Settings(log_level="error"))


def interruptible(module: str, *arguments: str) -> list[str]:
    """Return a command that runs a module and obeys SIGINT even if the parent process ignores the signal."""
    code = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += f"runpy.run_module({module!r}, run_name='__main__')"
    return [sys.executable, "-c", code, *arguments]


def encoded(image: NDArray[np.uint8] | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Encode an image: uint8 `[height, width]` or `[height, width, 3]`, or a Pillow image."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()
