"""The configuration of a run of the segmenter."""

from __future__ import annotations

from dataclasses import dataclass

from training.config import PhotoConfig


@dataclass(frozen=True, slots=True)
class SegmenterConfig:
    """Everything that decides what a run learns.

    Attributes:
        steps: Batches in each of the two rounds.
        batch_size: Scenes per batch.
        learning_rate: Peak of the one-cycle schedule of AdamW.
        weight_decay: Decoupled decay per step, multiplied by the current rate.
        averaging: Decay per step of the moving average of the weights, which is what is kept.
        ambiguity: Limit on how much the attempts at a photograph may differ, as a share of its garment's area.
        held_out_share: Share of the photographs that nothing is learnt from.
        seed: Seeds the weights and the scenes.
        split_seed: Seeds what is held out. It is the classifier's, which is thus measured on photographs new to both.
    """

    steps: int = 2500
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    averaging: float = 0.99
    ambiguity: float = 0.3
    held_out_share: float = PhotoConfig().held_out_share
    seed: int = 0
    split_seed: int = 0
