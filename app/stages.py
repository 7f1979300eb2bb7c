"""Times the stages of an answer, for its `Server-Timing` header, its log line and the metrics."""

from __future__ import annotations

import time
from typing import Literal, get_args

Stage = Literal["receive", "decode", "convert", "queue", "infer", "serialise"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class Stages:
    """A stopwatch: every moment since it was made belongs to one stage, unless it is left out.

    `queue` is all that a picture waits for: a thread to be decoded in, its batch, its turn on the event loop.

    Attributes:
        seconds: How long each stage that was reached took.
        images: How many pictures shared the forward pass; 0 where there was none.
    """

    __slots__ = ("_last", "images", "seconds")

    def __init__(self) -> None:
        """Start the first stage."""
        self.seconds: dict[Stage, float] = {}
        self.images = 0
        self._last = time.perf_counter()

    def end(self, stage: Stage, at: float | None = None) -> None:
        """Say that what ran since the last call was this stage; one that comes again is added up.

        Args:
            stage: What ran.
            at: When it ended, by `time.perf_counter`; None for now.
        """
        now = time.perf_counter() if at is None else at
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def leave_out(self) -> None:
        """Say that what ran since the last call belongs to none: other stopwatches time it."""
        self._last = time.perf_counter()

    def end_pass(self, started: float, ended: float, images: int) -> None:
        """Say when the forward pass ran, and with how many images."""
        self.end("queue", started)
        self.end("infer", ended)
        self.end("queue")
        self.images = images

    def timed(self) -> tuple[tuple[Stage, float], ...]:
        """Return each stage that was reached with its seconds, even while a thread reaches another one.

        A picture that was given up is decoded to its end all the same.
        """
        return tuple(self.seconds.items())

    def header(self) -> str:
        """Return the value of the header: what ran, in milliseconds.

        Source:
            W3C Server Timing, section 3.
        """
        batch = f';desc="batch of {self.images}"' if self.images else ""
        seconds = self.seconds
        entries = [
            f"{stage};dur={1000 * seconds[stage]:.3f}{batch if stage == 'queue' else ''}"
            for stage in STAGES
            if stage in seconds
        ]
        return ", ".join(entries)
