"""Counts the cores that the service may actually use, and divides them among its workers."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.settings import Settings

CGROUP = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def available_cores(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> int:
    """Return the number of cores in the affinity mask, or fewer if a cgroup's quota allows fewer; at least 1.

    `os.cpu_count()` considers neither: in a container limited to one of 64 cores it returns 64.

    Args:
        cgroup: Where the control groups are mounted, version 2 or 1.
        membership: The file that names the control groups of this process.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    own = cgroup / _own_group(membership)
    groups = (group for group in (own, *own.parents) if group.is_relative_to(cgroup))
    quota = min(filter(None, map(_quota, groups)), default=None)  # a group's ancestors limit it as well
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def worker_count(settings: Settings) -> int:
    """Return the number of worker processes."""
    return available_cores() if settings.workers == "auto" else settings.workers


def cores_of_a_worker(settings: Settings) -> int:
    """Return the cores per worker, for its forward pass and for decoding that many pictures at a time."""
    return max(1, available_cores() // worker_count(settings))


def _own_group(membership: Path) -> str:
    """Return the path, below the mount, of this process's version 2 group; empty if it is not known.

    Source:
        cgroups(7), `/proc/pid/cgroup`: version 2 has the line `0::/path`.
    """
    try:
        lines = membership.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    return next((line.removeprefix("0::").lstrip("/") for line in lines if line.startswith("0::")), "")


def _quota(cgroup: Path) -> float | None:
    """Return a group's own quota in cores, or None if it has none.

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
