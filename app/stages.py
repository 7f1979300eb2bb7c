"""Times the stages of an answer, for its `Server-Timing` header, its log line and the metrics."""

from __future__ import annotations

import time
from typing import Literal, get_args

Stage = Literal["receive", "decode", "convert", "queue", "infer", "serialise"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class Stages:
    """A stopwatch: every moment since its creation belongs to one stage, unless it is left out.

    `queue` is all the waiting of a picture: for a decoding thread, for its batch, for its turn on the event loop.

    Attributes:
        seconds: Duration of each stage that was reached.
        images: How many pictures shared the forward pass; 0 if there was none.
    """

    __slots__ = ("_last", "images", "seconds")

    def __init__(self) -> None:
        """Start the first stage."""
        self.seconds: dict[Stage, float] = {}
        self.images = 0
        self._last = time.perf_counter()

    def end(self, stage: Stage, at: float | None = None) -> None:
        """Assign the time since the last call to this stage; repeated stages add up.

        Args:
            stage: The stage that ran.
            at: When the stage ended, by `time.perf_counter`; None for now.
        """
        now = time.perf_counter() if at is None else at
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def leave_out(self) -> None:
        """Assign the time since the last call to no stage: other stopwatches measure it."""
        self._last = time.perf_counter()

    def end_pass(self, started: float, ended: float, images: int) -> None:
        """Record when the forward pass ran, and with how many images."""
        self.end("queue", started)
        self.end("infer", ended)
        self.end("queue")
        self.images = images

    def timed(self) -> tuple[tuple[Stage, float], ...]:
        """Return each stage that was reached with its seconds, safe while a thread adds another stage.

        A thread may do so after the answer: it decodes a dropped picture to the end.
        """
        return tuple(self.seconds.items())

    def header(self) -> str:
        """Return the value of the header: the stages that ran, in milliseconds.

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
