"""The configuration of a run of the recogniser."""

from __future__ import annotations

from dataclasses import dataclass

from training.config import PhotoConfig


@dataclass(frozen=True, slots=True)
class RecogniserConfig:
    """Everything that decides what a run learns.

    Attributes:
        ways: In how many ways each photograph is distorted, besides as it is.
        decay: What the sum of the squared weights costs, beside the mean log-likelihood.
        held_out_share: Share of the photographs that nothing is learnt from.
        seed: Seeds the distortions.
        split_seed: Seeds what is held out; the classifier's, so that both are measured on photographs new to both.
    """

    ways: int = 16
    decay: float = 3e-3
    held_out_share: float = PhotoConfig().held_out_share
    seed: int = 0
    split_seed: int = 0
