"""`python -m app predict`, without a server."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from app.__main__ import main
from app.commands.local import predict_with
from app.commands.tabulate import Listing
from app.imaging.conversion import Mode
from app.model_card import read_verified
from app.predictor import Predictor
from app.settings import Settings
from tests.conftest import encoded, interruptible
from tests.fakes import FirstPixelClassifier, tagged_image

if TYPE_CHECKING:
    from training.data import Data


def predicted(names: list[str], classifier: FirstPixelClassifier, settings: Settings) -> list[dict[str, Any]]:
    """Return what is listed for these files."""
    out = io.StringIO()
    with (
        closing(Predictor(classifier, settings, cores=2)) as predictor,
        Listing("json", names, out, io.StringIO()) as listing,
    ):
        asyncio.run(predict_with(predictor, names, Mode.AUTO, settings, listing))
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_files_are_answered_in_order_and_in_batches(tmp_path: Path) -> None:
    names = []
    for number in range(100):
        names.append(str(tmp_path / f"{number}.png"))
        (tmp_path / f"{number}.png").write_bytes(encoded(tagged_image(number % 10)))
    names[40:40] = [str(tmp_path / "gone.png"), __file__]
    classifier = FirstPixelClassifier()
    lines = predicted(names, classifier, Settings())
    assert [line["filename"] for line in lines] == names
    assert [line["problem"]["code"] for line in lines[40:42]] == ["unreadable", "unsupported_media_type"]
    answered = [line["result"]["prediction"]["class_id"] for line in lines[:40] + lines[42:]]
    assert answered == [number % 10 for number in range(100)]
    assert len(classifier.seen) < 100


def test_an_internal_failure_on_one_picture_does_not_affect_the_others(tmp_path: Path) -> None:
    def fail_at_dresses(images: np.ndarray) -> None:
        if images[0, 0, 0] == 3:
            msg = "torn"
            raise ValueError(msg)

    names = [str(tmp_path / f"{number}.png") for number in range(5)]
    for number, name in enumerate(names):
        Path(name).write_bytes(encoded(tagged_image(number)))
    lines = predicted(names, FirstPixelClassifier(fail_at_dresses), Settings(max_forward_images=1))
    assert [number for number, line in enumerate(lines) if "result" in line] == [0, 1, 2, 4]
    assert lines[3]["problem"]["detail"] == "The service failed at this picture: ValueError('torn')."


def test_the_command_answers_with_the_model_that_would_be_served(
    artifact: Path, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.png").write_bytes(encoded(data.test.images[0]))
    monkeypatch.setenv("FASHION_MODEL_DIR", str(artifact))
    assert main(["predict", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["model"]["name"] == "sample"
    (tmp_path / "two.png").write_bytes(b"a boot")
    assert main(["predict", str(tmp_path)]) == 1
    assert "unsupported_media_type: " in capsys.readouterr().out


def test_the_conversion_is_passed_on(
    artifact: Path, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.png").write_bytes(encoded(data.test.images[0]))
    monkeypatch.setenv("FASHION_MODEL_DIR", str(artifact))
    assert main(["predict", str(tmp_path), "--conversion", "none", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["conversion"]["mode"] == "none"


def test_as_a_process_it_reads_standard_input_and_prints_nothing_else(artifact: Path, data: Data) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "predict", "-", "--csv"],
        env=os.environ | {"FASHION_MODEL_DIR": str(artifact)},
        input=data.test.images[0].tobytes(),  # 784 bytes count as pixels here too
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith(b"-,")
    assert done.stderr == b""


def test_ctrl_c_ends_it_even_if_standard_input_stays_open(artifact: Path, data: Data, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(encoded(data.test.images[0]))
    with subprocess.Popen(
        interruptible("app", "predict", str(tmp_path), "-", "--csv"),
        env=os.environ | {"FASHION_MODEL_DIR": str(artifact), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().startswith(b"filename,")
        assert process.stdout.readline().startswith(bytes(tmp_path))  # so by now it reads standard input
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == b""


@pytest.mark.parametrize(("setting", "value"), [("MAX_QUEUE_SECONDS", "0.000001"), ("MAX_PENDING_IMAGES", "1")])
def test_no_picture_is_refused_because_of_those_before_it(
    setting: str,
    value: str,
    artifact: Path,
    data: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    large = encoded(np.tile(data.test.images[0], (40, 40)))
    for number in range(100):  # together longer than the half second after which the rate is known
        (tmp_path / f"{number}.png").write_bytes(large)
    monkeypatch.setenv("FASHION_MODEL_DIR", str(artifact))
    monkeypatch.setenv(f"FASHION_{setting}", value)
    assert main(["predict", str(tmp_path), "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 100


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [("MAX_IMAGE_PIXELS", "1599", "image_too_large"), ("MAX_BODY_BYTES", "60", "payload_too_large")],
)
def test_a_picture_above_the_limits_of_the_service_is_refused_here_too(
    setting: str,
    value: str,
    code: str,
    artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "large.png").write_bytes(encoded(np.zeros((40, 40), np.uint8)))
    monkeypatch.setenv("FASHION_MODEL_DIR", str(artifact))
    monkeypatch.setenv(f"FASHION_{setting}", value)
    assert main(["predict", str(tmp_path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problem"]["code"] == code


def test_an_endless_file_is_read_only_up_to_the_limit() -> None:
    (line,) = predicted(["/dev/zero"], FirstPixelClassifier(), Settings(max_body_bytes=10_000))
    assert line["problem"]["code"] == "payload_too_large"
    assert line["problem"]["detail"].startswith("Expected at most 10000 bytes, received a larger file. ")


def test_a_model_trained_with_another_segmenter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "other" / "1"
    shutil.copytree(Settings().model_dir, folder)
    card = read_verified(folder)
    assert card.photos
    card.model_copy(update={"photos": card.photos.model_copy(update={"segmenter": "0" * 64})}).write(folder)
    (tmp_path / "one.png").touch()
    monkeypatch.setenv("FASHION_MODEL_DIR", str(folder))
    assert main(["predict", str(tmp_path / "one.png")]) == 3
    assert "expected the network that finds garments which the model's card names" in capsys.readouterr().err


def test_a_model_that_cannot_be_loaded_gives_one_line_and_the_exit_code_of_a_failed_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.png").touch()
    monkeypatch.setenv("FASHION_MODEL_DIR", "/nowhere")
    assert main(["predict", str(tmp_path)]) == 3
    assert capsys.readouterr().err.startswith("fashion-mnist-service: /nowhere/model_card.json: expected a model card")


@pytest.mark.parametrize("arguments", [["predict"], ["predict", "EMPTY"], ["foretell"]])
def test_a_usage_error_exits_with_2(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path) if argument == "EMPTY" else argument for argument in arguments])
    assert caught.value.code == 2
    command = "app predict [-h]" if arguments == ["predict"] else "app"
    assert capsys.readouterr().err.startswith(f"usage: python -m {command}")


def test_who_gives_the_service_an_option_learns_where_options_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--port", "9000"])
    assert "FASHION_PORT" in capsys.readouterr().err
