"""What is compared: how each server is started, and what its requests and answers look like."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.settings import PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parents[2]
RIVALS = Path(__file__).with_name("rivals")
ENVIRONMENTS = ROOT / ".rivals"
"""Where `make bench` installs each rival that needs packages of its own."""

WORKERS = 2
BOUNDARY = "benchmark-boundary"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


def raw(picture: bytes) -> bytes:
    """Send the picture as the body."""
    return picture


def form(name: str) -> Callable[[bytes], bytes]:
    """Send the picture as one field of a form, written as curl writes it."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="picture"\r\n'
    head += "Content-Type: application/octet-stream\r\n\r\n"
    return lambda picture: head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()


def open_inference(picture: bytes) -> bytes:
    """Send the picture as the Open Inference Protocol encodes bytes: base64 in JSON."""
    text = base64.b64encode(picture).decode()
    tensor = {"name": "pictures", "shape": [1, 1], "datatype": "BYTES", "parameters": {"content_type": "base64"}}
    return json.dumps({"inputs": [{**tensor, "data": [text]}]}).encode()


def named(answer: Any) -> list[float]:  # noqa: ANN401  JSON
    """Read the ten probabilities from the field `probabilities`."""
    return [float(one) for one in answer["probabilities"]]


def ranked(answer: Any) -> list[float]:  # noqa: ANN401  JSON
    """Read the probabilities of our own answer."""
    return [float(one["probability"]) for one in answer["probabilities"]]


def tensor(answer: Any) -> list[float]:  # noqa: ANN401  JSON
    """Read the only tensor of an answer in the Open Inference Protocol."""
    return [float(one) for one in answer["outputs"][0]["data"]]


@dataclass(frozen=True, slots=True)
class System:
    """One way to ask a server.

    Attributes:
        name: Its name in the tables.
        path: The path of the request.
        content_type: The content type of the body.
        body: Makes the body from a PNG.
        read: Extracts the ten probabilities from the parsed answer.
    """

    name: str
    path: str
    content_type: str
    body: Callable[[bytes], bytes]
    read: Callable[[Any], list[float]] = named


@dataclass(frozen=True, slots=True)
class Server:
    """One program to start.

    Attributes:
        name: What `--only` calls it.
        package: The package whose version is reported.
        arguments: Returns, for a port, a program of its environment and that program's arguments.
        systems: The ways to ask it.
        environment: Returns environment variables for an artifact and a port.
        workers: Number of processes that run the model.
        own_environment: Whether its packages are installed in `ENVIRONMENTS`, not with ours.
    """

    name: str
    package: str
    arguments: Callable[[int], list[str]]
    systems: tuple[System, ...]
    environment: Callable[[Path, int], Mapping[str, str]] = lambda artifact, _: for_rivals(artifact)
    workers: int = WORKERS
    own_environment: bool = True

    @property
    def programs(self) -> Path:
        """Folder of the programs in its environment."""
        return ENVIRONMENTS / self.name / "bin" if self.own_environment else Path(sys.executable).parent

    @property
    def is_installed(self) -> bool:
        """Whether its environment has been made."""
        return (self.programs / "python").exists()

    def command(self, port: int) -> list[str]:
        """Return the command that starts it on a port."""
        program, *arguments = self.arguments(port)
        return [str(self.programs / program), *arguments]

    def version(self) -> str:
        """Return the installed version of its package."""
        question = f"import importlib.metadata as m; print(m.version({self.package!r}))"
        return subprocess.check_output([self.programs / "python", "-c", question], text=True).strip()  # noqa: S603  ours


def for_rivals(artifact: Path) -> dict[str, str]:
    """Return variables that name the artifact, and let a rival's program import the modules beside it anywhere."""
    return {"ARTIFACT": str(artifact), "PYTHONPATH": str(RIVALS)}


def uvicorn(module: str, workers: int) -> Callable[[int], list[str]]:
    """Return arguments that run a FastAPI app on a port, without a log line for each request."""
    options = ["--workers", str(workers), "--no-access-log", "--log-level", "warning"]
    return lambda port: ["uvicorn", f"{module}:app", "--port", str(port), *options]


OURS = Server(
    name="ours",
    package="fastapi",
    arguments=lambda _: ["python", "-m", "app"],
    environment=lambda artifact, port: {
        "PYTHONPATH": str(ROOT),
        "FASHION_MODEL_DIR": str(artifact),
        "FASHION_PORT": str(port),
        "FASHION_WORKERS": str(WORKERS),
        "FASHION_LOG_LEVEL": "warning",  # like the rivals: no line for each request
        "FASHION_MAX_PENDING_IMAGES": "512",  # like the rivals: none of them refuses
        "FASHION_DRAIN_SECONDS": "0",
    },
    systems=(
        System("ours, raw", "/predict", "image/png", raw, ranked),
        System("ours, multipart", "/predict", MULTIPART, form("file"), ranked),
    ),
    own_environment=False,
)

DEFAULT_LIMIT = {f"{PREFIX}MAX_PENDING_IMAGES": str(Settings().max_pending_images)}
"""Our default limit, for measurements without the rivals, which admit everything."""

RIVAL_SERVERS = (
    Server(
        name="tutorial",
        package="keras",
        arguments=uvicorn("tutorial", workers=1),
        systems=(System("model.predict a request", "/predict", MULTIPART, form("file")),),
        workers=1,
        own_environment=False,
    ),
    Server(
        name="fastapi",
        package="fastapi",
        arguments=uvicorn("fastapi_direct", WORKERS),
        systems=(
            System("FastAPI-direct, raw", "/raw", "image/png", raw),
            System("FastAPI-direct, multipart", "/multipart", MULTIPART, form("file")),
        ),
        own_environment=False,
    ),
    Server(
        name="litserve",
        package="litserve",
        arguments=lambda port: ["python", str(RIVALS / "litserve_api.py"), str(port)],
        systems=(System("LitServe", "/predict", MULTIPART, form("file")),),
    ),
    Server(
        name="bentoml",
        package="bentoml",
        arguments=lambda port: [
            "bentoml",
            "serve",
            "bentoml_service:Classifier",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ],
        systems=(System("BentoML", "/classify", MULTIPART, form("pictures"), lambda answer: named(answer[0])),),
    ),
    Server(
        name="mosec",
        package="mosec",
        arguments=lambda port: [
            "python",
            str(RIVALS / "mosec_server.py"),
            "--address",
            "127.0.0.1",
            "--port",
            str(port),
        ],
        systems=(System("mosec", "/inference", "image/png", raw),),
    ),
    Server(
        name="mlserver",
        package="mlserver",
        arguments=lambda _: ["mlserver", "start", "."],
        environment=lambda artifact, port: {
            **for_rivals(artifact),
            "MLSERVER_DEBUG": "false",
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": str(port),
            "MLSERVER_GRPC_PORT": str(port + 1),
            "MLSERVER_METRICS_PORT": str(port + 2),
            "MLSERVER_PARALLEL_WORKERS": str(WORKERS),
            "MLSERVER_MODEL_NAME": "classifier",
            "MLSERVER_MODEL_IMPLEMENTATION": "mlserver_runtime.Classifier",
            "MLSERVER_MODEL_MAX_BATCH_SIZE": "32",
            "MLSERVER_MODEL_MAX_BATCH_TIME": "0.001",
        },
        systems=(System("MLServer", "/v2/models/classifier/infer", "application/json", open_inference, tensor),),
    ),
)

SERVERS = (OURS, *RIVAL_SERVERS)
