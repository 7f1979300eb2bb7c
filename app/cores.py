"""Counts the cores that the service may really use, and shares them among its workers."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.settings import Settings

CGROUP = Path("/sys/fs/cgroup")


def available_cores(cgroup: Path = CGROUP) -> int:
    """Return the cores of the affinity mask, or fewer where a cgroup's quota allows fewer; at least one.

    `os.cpu_count()` sees neither: in a container limited to one of 64 cores it says 64.

    Args:
        cgroup: Where the control group is mounted, version 2 or 1.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def worker_count(settings: Settings) -> int:
    """Return how many processes serve."""
    return available_cores() if settings.workers == "auto" else settings.workers


def cores_of_a_worker(settings: Settings) -> int:
    """Return the cores for each worker: for its forward pass, and for as many pictures decoded at a time."""
    return max(1, available_cores() // worker_count(settings))


def _quota(cgroup: Path) -> float | None:
    """Return the quota in cores, or None where there is none.

    Source:
        The kernel's Documentation/admin-guide/cgroup-v2.rst (`cpu.max`) and cgroup-v1's `cpu.cfs_quota_us`.
    """
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if quota in {"max", "-1"} else int(quota) / int(period)
