from __future__ import annotations

import os
import re

from training.machine import machine


def test_the_machine_is_named_with_its_cores() -> None:
    assert re.fullmatch(rf"{len(os.sched_getaffinity(0))} cores of \S.*", machine())
