"""What a request leaves for its log line and the metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.stages import Stages

SHOWN_PATH = 200
"""Letters of a path that a log line or an answer repeats: long ones would push all others out of the log."""

TRACE = "trace"
"""Where in the ASGI scope of a request its trace is."""

CUT_OFF = "cut_off"
"""Where in it the status is with which a request was cut off before the app could answer."""


@dataclass(slots=True)
class Trace:
    """Filled on the way, read once the answer is sent.

    Attributes:
        stages: The stopwatch of the request; behind that of a batch, those of its pictures.
        answers: Of each picture that was answered, what `Predictor.predict` returned.
        problems: The code of each problem that was answered with, those inside a batch included.
        is_heard: Whether anybody is left to hear the answer.
    """

    stages: list[Stages] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    is_heard: bool = True

    def facts(self) -> dict[str, Any]:
        """Return what belongs into the log line; of many stopwatches the longest time for each stage."""
        facts: dict[str, Any] = {}
        if self.stages:
            longest: dict[str, float] = {}
            for stages in self.stages:
                for stage, seconds in stages.timed():
                    longest[stage] = max(seconds, longest.get(stage, 0.0))
            facts["stages"] = {stage: round(1000 * seconds, 3) for stage, seconds in longest.items()}
            if batch := max(stages.images for stages in self.stages):
                facts["batch"] = batch
            if len(self.stages) > 1:
                facts["pictures"] = len(self.stages) - 1
        if self.problems:
            facts["problem"] = ", ".join(sorted(set(self.problems)))
        return facts
