"""What the commands share: numbers as arguments, where runs are kept, and how a command ends."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import StartError
from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = Path("runs")


def natural(text: str, least: int = 0) -> int:
    """Parse an integer of at least `least`; `argparse` turns a `ValueError` into a message with the text received."""
    if (number := int(text)) < least:
        raise ValueError
    return number


def positive(text: str) -> int:
    """Parse an integer of 1 or more."""
    return natural(text, 1)


def run(work: Callable[[], object], stopped: str) -> int:
    """Do the work of a command and return the process's exit code.

    Args:
        work: Imports TensorFlow only when it is called, so that what is set here has an effect.
        stopped: What to say after Ctrl-C, about what is kept.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("tensorflow").setLevel(logging.WARNING)  # it would log folders that are gone when the job ends
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        work()
    except (TrainingError, StartError, OSError) as error:
        sys.stderr.write(f"training: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"training: stopped; {stopped}\n")
        return 130
    return 0
