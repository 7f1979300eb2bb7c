"""The configuration of a run of the recogniser."""

from __future__ import annotations

from dataclasses import dataclass

from training.config import PhotoConfig


@dataclass(frozen=True, slots=True)
class RecogniserConfig:
    """Everything that decides what a run learns.

    Attributes:
        ways: Number of distorted versions of each photograph, besides the original.
        decay: Factor of the sum of the squared weights, which is added to the mean negative log-likelihood.
        held_out_share: Share of the photographs that nothing is learnt from.
        seed: Seeds the distortions.
        split_seed: Seeds what is held out. It is the classifier's: both are measured on photographs new to both.
    """

    ways: int = 16
    decay: float = 3e-3
    held_out_share: float = PhotoConfig().held_out_share
    seed: int = 0
    split_seed: int = 0
