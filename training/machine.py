"""Names the machine that a number was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def cores() -> int:
    """Count the cores that this process may run on: those of its container where they are named, not its share."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """Return the processor's name with how many cores there are."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{cores()} cores of {names[0] if names else platform.machine()}"
