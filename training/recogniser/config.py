"""The configuration of a run of the recogniser."""

from __future__ import annotations

from dataclasses import dataclass

from training.config import PhotoConfig


@dataclass(frozen=True, slots=True)
class RecogniserConfig:
    """Everything that decides what a run learns.

    Attributes:
        ways: Number of distorted versions of each photograph, besides the original.
        epochs: Number of times that each photograph is shown, each time in one of its versions.
        batch_size: Photographs per batch.
        learning_rate: Highest learning rate.
        dropout: Share of the features that each step leaves out.
        erased_share: Share of the pictures in which a square is filled with one colour.
        blending: Both parameters of the beta distribution of a picture's share, when it is blended with another.
        label_smoothing: Share of each target that is spread evenly over all labels.
        averaging: Share of the average of the weights that each step keeps; the average is what is kept at the end.
        sharpness: Factor of the logits after training. Blends and smoothed labels leave the network less sure than it
            is right. Fitted to a fifth of the training photographs, with a network that had learnt from the others.
        held_out_share: Share of the photographs that nothing is learnt from.
        seed: Seeds the distortions, the order of the photographs, and the blends.
        split_seed: Seeds what is held out. It is the classifier's: both are measured on photographs new to both.
    """

    ways: int = 8
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 3e-4
    dropout: float = 0.2
    erased_share: float = 0.5
    blending: float = 0.2
    label_smoothing: float = 0.05
    averaging: float = 0.99
    sharpness: float = 1.6
    held_out_share: float = PhotoConfig().held_out_share
    seed: int = 0
    split_seed: int = 0
