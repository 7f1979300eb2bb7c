"""The service starts and answers even where it can write nothing, not even its log."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.serving.systems import ROOT
from tests.faults.conftest import service

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.faults

# TensorFlow imports Matplotlib if it is installed, which serving does not need, and Matplotlib needs to write.
WITHOUT_MATPLOTLIB = "env MPLCONFIGDIR=/dev/shm"
READ_ONLY = "mount -t tmpfs -o ro none /tmp; mount -o remount,bind,ro /"
FULL = "mount -t tmpfs -o size=4k none /tmp; head -c 4096 /dev/zero >/tmp/filler; mount --bind /tmp /dev/shm"
# A new root with everything but /tmp.
MISSING = """
mount -t tmpfs none /mnt
for one in $(ls / | grep -vxE 'tmp|mnt'); do
  if test -L /$one; then cp -P /$one /mnt; elif test -d /$one; then mkdir /mnt/$one; mount --rbind /$one /mnt/$one; fi
done
"""


def world(change: str, enter: str = "") -> Sequence[str]:
    """Return a command that runs another one in its own mount namespace, with changed mounts."""
    return ["unshare", "--mount", "sh", "-euc", f'{change}\nexec {enter} "$@"', "sh"]


@pytest.fixture(scope="module")
def _may_mount() -> None:
    trial = [*world("mount -t tmpfs none /mnt"), "true"]
    if not shutil.which("unshare") or subprocess.run(trial, capture_output=True, check=False).returncode:
        pytest.skip("needs root on Linux, to mount")


@pytest.mark.usefixtures("_may_mount")
@pytest.mark.skipif(ROOT.is_relative_to("/tmp"), reason="hides /tmp, and this checkout with it")  # noqa: S108  looks, writes nothing
@pytest.mark.parametrize(
    "changed",
    [world(READ_ONLY, WITHOUT_MATPLOTLIB), world(FULL), world(MISSING, f"chroot /mnt env -C {ROOT}")],
    ids=["read-only", "full", "without /tmp"],
)
def test_it_starts_and_answers_on_a_disk_that_is(changed: Sequence[str], picture: bytes, tmp_path: Path) -> None:
    with service(tmp_path, world=changed, WORKERS=1) as started:
        its_tmp = Path(f"/proc/{started.process.pid}/root/tmp")
        with pytest.raises(OSError, match=r"Read-only file system|No space left|No such file"):
            (its_tmp / "new").write_bytes(bytes(2**13))
        assert started.predict(picture)["prediction"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, on which every write fails")
def test_it_starts_and_answers_when_its_log_cannot_be_written(picture: bytes, tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    with service(tmp_path, WORKERS=1, LOG_LEVEL="debug") as started:
        for _ in range(5):
            assert started.predict(picture)["prediction"]
