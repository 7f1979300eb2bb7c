"""The container, built and started as a user would, and queried from outside."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from app.model_card import read_verified
from tests.conftest import encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.data import Data

pytestmark = pytest.mark.container

REPOSITORY = Path(__file__).parents[2]
MAX_IMAGE_BYTES = 1_250_000_000
OFTEN = ("--health-start-interval", "1s")  # as in probes.yml


@dataclass(frozen=True)
class Deployment:
    """A Compose project of its own, so that nothing else on the machine is affected."""

    project: str

    @property
    def image(self) -> str:
        return f"{self.project}-api"

    @property
    def url(self) -> str:
        return f"http://{self.compose('port', 'api', '8000')}"

    def compose(self, *arguments: str, folder: Path = REPOSITORY) -> str:
        """Run `docker compose` with the repository's file; relative paths in it are resolved against `folder`."""
        files = (REPOSITORY / "docker-compose.yml", Path(__file__).with_name("probes.yml"))
        named = [part for file in files for part in ("-f", str(file))]
        return docker("compose", "-p", self.project, *named, "--project-directory", str(folder), *arguments)

    def execute(self, *command: str, user: str = "") -> str:
        """Run a command in the service's container."""
        return self.compose("exec", "-T", *(("--user", user) if user else ()), "api", *command)


def docker(*arguments: str) -> str:
    """Return a command's output; if it fails, raise with its error output."""
    done = run_docker(*arguments)
    assert done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stderr}"
    return done.stdout.strip()


def run_docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PUBLISHED_PORT": "0"}  # any free port
    return subprocess.run(["docker", *arguments], env=environment, capture_output=True, text=True, check=False)  # noqa: S607  the user's own docker


@pytest.fixture(scope="module")
def service() -> Iterator[Deployment]:
    deployment = Deployment(f"test-{uuid.uuid4().hex[:8]}")
    try:
        deployment.compose("build", "api", "train")  # side by side
        deployment.compose("up", "-d", "--wait", "--wait-timeout", "180")
        yield deployment
    finally:
        with suppress(AssertionError):  # whatever happens, remove the containers
            print(deployment.compose("logs"))  # noqa: T201  pytest shows it when the container does not start
        deployment.compose("--profile", "train", "down", "-v", "--remove-orphans", "-t", "5", "--rmi", "local")


@pytest.fixture
def client(service: Deployment) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=service.url, timeout=30) as client:
        yield client


def test_a_healthy_container_classifies_a_test_image(client: httpx2.Client, data: Data) -> None:
    files = {"file": ("boot.png", encoded(data.test.images[0]), "image/png")}

    answer = client.post("/predict", files=files).raise_for_status().json()

    assert client.get("/health/ready").json() == {"status": "ready"}
    assert answer["prediction"]["class_id"] == data.test.class_ids[0]
    assert len(answer["probabilities"]) == 10
    assert sum(one["probability"] for one in answer["probabilities"]) == pytest.approx(1, abs=1e-4)


def test_its_page_comes_with_sample_pictures(client: httpx2.Client) -> None:
    page = client.get("/").raise_for_status()
    sample = client.get("/web/samples/sweater.jpg").raise_for_status()

    assert "web/samples/sweater.jpg" in page.text
    assert client.post("/predict", content=sample.content).raise_for_status().json()["conversion"]["garment"]


def test_a_bad_file_does_not_affect_the_rest_of_a_batch(client: httpx2.Client, data: Data) -> None:
    good = encoded(data.test.images[0])
    files = [("files", ("boot.png", good)), ("files", ("notes.txt", b"a boot")), ("files", ("again.png", good))]

    results = client.post("/predict/batch", files=files).raise_for_status().json()["results"]

    assert [one["filename"] for one in results] == ["boot.png", "notes.txt", "again.png"]
    assert results[0]["result"]["prediction"] == results[2]["result"]["prediction"]
    assert results[1]["problem"]["code"] == "unsupported_media_type"


def test_it_runs_as_a_user_without_capabilities_or_a_way_to_gain_any(service: Deployment) -> None:
    # Process 1 is the init process; its children inherit all of this.
    lines = service.execute("cat", "/proc/1/status").splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}

    assert "0" not in status["Uid"] + status["Gid"] + status["Groups"]
    assert {int(status[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2"]  # system calls are filtered


def test_not_even_root_can_write_to_its_file_system(service: Deployment) -> None:
    with pytest.raises(AssertionError, match="Read-only file system"):
        service.execute("touch", "/service/new", user="root")


def test_files_in_its_scratch_space_cannot_be_executed(service: Deployment) -> None:
    with pytest.raises(AssertionError, match="Permission denied"):
        service.execute("sh", "-c", "cp /bin/true /tmp/true && /tmp/true")


def test_its_port_is_published_on_localhost_only(service: Deployment) -> None:
    assert service.url.startswith("http://127.0.0.1:")


def test_its_bill_of_materials_lists_every_installed_package_and_version(service: Deployment) -> None:
    code = (
        "import importlib.metadata as m, json; print(json.dumps({one.name: one.version for one in m.distributions()}))"
    )
    installed = json.loads(service.execute("python", "-c", code))

    bill = json.loads(service.execute("cat", "/sbom.cdx.json"))

    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "fashion-mnist-service"
    assert {one["name"]: one["version"] for one in bill["components"]} == installed
    assert all(one["purl"].startswith("pkg:pypi/") for one in bill["components"])
    assert {"pillow", "python-multipart", "starlette", "uvicorn"} <= installed.keys()


def test_it_contains_only_the_service_its_models_and_the_license(service: Deployment) -> None:
    assert service.execute("ls", "-A", "/service").split() == ["LICENSE", "app", "models"]
    assert service.execute("find", "/service/models", "-name", "report-*", "-o", "-name", ".*") == ""


@pytest.mark.parametrize("python", ["python", "/usr/local/bin/python"])
def test_nothing_in_it_can_install_packages(service: Deployment, python: str) -> None:
    code = "from importlib.util import find_spec; print(*filter(find_spec, ['ensurepip', 'pip', 'setuptools']))"

    assert service.execute(python, "-c", code) == ""


def test_its_image_is_at_most_1_25_gigabytes(service: Deployment) -> None:
    assert int(docker("image", "inspect", "-f", "{{.Size}}", service.image)) <= MAX_IMAGE_BYTES


@pytest.mark.parametrize(
    ("version_2", "version_1", "expected"),
    [
        ("memory.max", "memory/memory.limit_in_bytes", 3584 * 2**20),
        ("cpu.max", "cpu/cpu.cfs_quota_us", 2 * 100_000),
        ("pids.max", "pids/pids.max", 512),
    ],
)
def test_its_limits_are_in_force(service: Deployment, version_2: str, version_1: str, expected: int) -> None:
    either = f"cd /sys/fs/cgroup && cat {version_2} 2>/dev/null || cat {version_1}"

    assert int(service.execute("sh", "-c", either).split()[0]) == expected


def test_libraries_do_not_start_a_thread_per_core_of_the_host(service: Deployment) -> None:
    count = "import os, numpy, cv2; print(len(os.listdir('/proc/self/task')))"
    assert service.execute("python", "-c", count).split() == ["1"]


def test_settings_in_fashion_env_reach_the_service(service: Deployment, tmp_path: Path) -> None:
    (tmp_path / "fashion.env").write_text("FASHION_WORKERS=1\nFASHION_COVERAGE=0.9\n")

    given = service.compose("run", "--rm", "-T", "api", "env", folder=tmp_path).splitlines()

    assert {"FASHION_WORKERS=1", "FASHION_COVERAGE=0.9", "FASHION_LOG_FORMAT=json"} <= set(given)


def test_a_missing_artifact_ends_it_with_one_line_that_names_the_file(service: Deployment) -> None:
    done = run_docker("run", "--rm", "-e", "FASHION_MODEL_DIR=/nowhere", service.image)

    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "/nowhere/model_card.json" in done.stderr


def test_it_serves_from_a_read_only_disk_without_any_place_for_temporary_files(service: Deployment) -> None:
    name = f"{service.project}-sealed"
    ask = "from urllib.request import urlopen; picture = open('app/web/samples/boot.png', 'rb').read(); "
    ask += "print(urlopen('http://127.0.0.1:8000/predict', picture).read().decode())"
    try:
        sealed = ("--read-only", "--network", "none", "--cap-drop", "ALL")
        docker("run", "-d", "--name", name, *sealed, *OFTEN, service.image)
        deadline = time.monotonic() + 180
        while (health := docker("inspect", "-f", "{{.State.Health.Status}}", name)) == "starting":
            assert time.monotonic() < deadline
            time.sleep(1)
        assert health == "healthy"
        with pytest.raises(AssertionError, match="Read-only file system"):
            docker("exec", name, "touch", "/tmp/new")  # noqa: S108  it is what cannot be written
        assert '"Ankle boot"' in docker("exec", name, "python", "-c", ask)
    finally:
        docker("rm", "-f", name)


def test_training_writes_an_artifact_that_belongs_to_the_owner_of_the_folder(
    service: Deployment, tmp_path: Path
) -> None:
    models = tmp_path / "models"  # without runs/ beside it, as in a fresh clone
    models.mkdir()
    if os.geteuid() == 0:
        os.chown(models, 1234, 1234)
    owner = models.stat().st_uid

    arguments = ("--network", "mlp", "--epochs", "1", "--output", "models/small/1")
    service.compose("run", "--rm", "-T", "train", *arguments, folder=tmp_path)

    assert read_verified(models / "small" / "1").name == "small"
    assert (tmp_path / "runs").is_dir()
    assert {path.stat().st_uid for path in tmp_path.rglob("*")} == {owner}


def test_it_stops_cleanly(service: Deployment) -> None:
    # Must be the last in this module: the others use the container that it stops.
    container = service.compose("ps", "-q", "api")

    service.compose("stop")

    assert docker("inspect", "-f", "{{.State.ExitCode}} {{.State.OOMKilled}}", container) == "0 false"
