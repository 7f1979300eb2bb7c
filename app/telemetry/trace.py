"""What a request records for its log line and the metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.stages import Stages

SHOWN_PATH = 200
"""Characters of a path that a log line or an answer repeats: long paths would crowd out everything else in the log."""

TRACE = "trace"
"""Key of a request's trace in its ASGI scope."""

CUT_OFF = "cut_off"
"""Key, in the scope, of the status with which a request was cut off before the app could answer; 0 for no answer."""


@dataclass(slots=True)
class Trace:
    """Filled while a request is handled, read once the answer is sent.

    Attributes:
        stages: The stopwatch of the request; for a batch, followed by those of its pictures.
        answers: What `Predictor.predict` returned for each picture that was answered.
        problems: The code of each problem in the answer, including those inside a batch.
        is_heard: Whether the client is still there to receive the answer.
    """

    stages: list[Stages] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    is_heard: bool = True

    def facts(self) -> dict[str, Any]:
        """Return the fields for the log line; if there are many stopwatches, the longest time of each stage."""
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
