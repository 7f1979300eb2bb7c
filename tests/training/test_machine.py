from __future__ import annotations

import re
import subprocess
import sys

from app.cores import available_cores
from training.machine import machine


def test_the_machine_is_named_with_the_cores_that_may_be_used() -> None:
    assert re.fullmatch(rf"{available_cores()} cores? of \S.*", machine())


def test_one_core_is_not_called_cores() -> None:
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    program += "from training.machine import machine; print(machine())"
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert printed.startswith("1 core of ")
