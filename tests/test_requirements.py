"""The requirements: each package is pinned to one version with hashes, and none has a fault that is listed here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "requirements").glob("*.txt"))

# The first version without the fault. When another fault is found, raise the version and run `make lock`.
FIXED = {
    "h11": (
        "0.16",
        "took chunks that end otherwise than they should, so that two servers saw two requests: CVE-2025-43859",
    ),
    "pillow": ("12.3", "decoders read and wrote beyond their memory: PYSEC-2026-2253 to 2257 and 3451 to 3453"),
    "python-multipart": ("0.0.32", "scanned part data full of line breaks slowly; before 0.0.26, CVE-2026-40347"),
    "starlette": ("1.3.1", "CVE-2026-54283 and CVE-2026-54282"),
    "uvicorn": ("0.51", "dropped requests when workers were restarted by SIGHUP"),
}


def pinned(file: Path) -> list[tuple[Requirement, int]]:
    """Return each requirement of a file with the number of its hashes."""
    blocks = re.split(r"\n(?=[a-z])", re.sub(r" *#.*", "", file.read_text()))
    return [(Requirement(re.split(r" \\| --hash", block)[0]), block.count("--hash=sha256:")) for block in blocks]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_package_is_pinned_to_one_version_with_its_hashes(file: Path) -> None:
    for requirement, hashes in pinned(file):
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert hashes, requirement


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_package_is_older_than_the_version_that_fixed_its_fault(file: Path) -> None:
    for requirement, _ in pinned(file):
        first_fixed, fault = FIXED.get(requirement.name, ("0", ""))
        (one,) = requirement.specifier
        assert Version(one.version) >= Version(first_fixed), f"{requirement}: {fault}"


def test_every_package_with_a_known_fault_is_one_that_the_service_needs() -> None:
    assert FIXED.keys() <= {requirement.name for requirement, _ in pinned(ROOT / "requirements" / "serving.txt")}


def test_the_base_image_is_one_patch_release_on_one_debian() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE=python:3\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?$", dockerfile, re.MULTILINE)
    stages = re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) <= {"${BASE}", *stages}
