"""Names the machine that a number was measured on."""

from __future__ import annotations

import platform
from pathlib import Path

from app.cores import available_cores


def machine() -> str:
    """Return the processor's name with the number of cores that this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = available_cores()
    return f"{cores} {'core' if cores == 1 else 'cores'} of {names[0] if names else platform.machine()}"
