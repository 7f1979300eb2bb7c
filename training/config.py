"""The configuration of a training run: one frozen object, written to the model card unchanged."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

Network = Literal["mlp", "cnn", "tiny"]
Precision = Literal["float32", "mixed_bfloat16"]


@dataclass(frozen=True, slots=True)
class Distortion:
    """How much two photographs of the same thing may differ.

    Attributes:
        rotation_degrees: Standard deviation of the rotation, which is limited to 30 degrees either way.
        zoom: Largest change of scale, as a natural logarithm.
        stretch: Largest change of one side's scale, as a natural logarithm; the other side changes inversely.
        shear: Largest shear.
        perspective: Largest change of scale from the middle to an edge.
        shift: Largest shift, as a share of each side.
        gamma: Standard deviation of the natural logarithm of gamma.
        contrast: Standard deviation of the natural logarithm of the contrast.
        brightness: Standard deviation of the added brightness, as a share of white.
        tint: Standard deviation of the natural logarithm of each channel's gain.
        uneven_light: Standard deviation of the change of light from the middle to an edge, along each axis.
        blur_pixels: Largest standard deviation of a blur, in pixels of the decoded picture; half are not blurred.
        noise: Largest standard deviation of the noise, as a share of white.
    """

    rotation_degrees: float = 9.0
    zoom: float = 0.12
    stretch: float = 0.1
    shear: float = 0.06
    perspective: float = 0.07
    shift: float = 0.05
    gamma: float = 0.25
    contrast: float = 0.15
    brightness: float = 0.05
    tint: float = 0.06
    uneven_light: float = 0.1
    blur_pixels: float = 2.0
    noise: float = 0.03


@dataclass(frozen=True, slots=True)
class PhotoConfig:
    """How photographs are mixed into training.

    Attributes:
        held_out_share: Share of the photographs of each folder that are only measured on, never learnt from.
        share: Share of photographs in a batch, not counting blends of two images.
        disguised_share: Share of the data set's images in a batch that were disguised by `training.pictures.disguise`
            and converted back.
        variants: Distorted versions of each photograph that are converted before training, besides the original.
        distortion: How much the versions differ.
        misjudged_share: Share of the versions in which the garment's outline is wrong somewhere: a piece of the garment
            is missing, or a piece of the background is left over.
        paired_share: Share of a shoe's versions with its mirror image beside it, like a pair seen from above.
        collages: Number of collages made of photographs, to teach what is unfamiliar.
    """

    held_out_share: float = 0.2
    share: float = 0.3
    disguised_share: float = 0.2
    variants: int = 32
    distortion: Distortion = Distortion()
    misjudged_share: float = 0.2
    paired_share: float = 0.15
    collages: int = 1000


@dataclass(frozen=True, slots=True)
class DistillationConfig:
    """How much a network learns from the answers of other models.

    Attributes:
        teachers: SHA-256 of each teacher's graph.
        temperature: Divisor of the log probabilities of the teachers' answers.
        trust: Weight of the teachers' answer in a target, where the label is known.
        blends: Number of blends of two images per image of the training split.
        blended_share: Share of blends in a batch.
        seed: Decides which images are blended, and how, independently of the run's own seed.
        continued: Start from the weights of the first teacher, which has to be the same network.
    """

    teachers: tuple[str, ...]
    temperature: float = 2.0
    trust: float = 0.7
    blends: int = 4
    blended_share: float = 0.2
    seed: int = 0
    continued: bool = False

    def __post_init__(self) -> None:
        """Require at least one teacher."""
        if not self.teachers:
            msg = "expected at least one teacher, received none"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything that decides what a run learns from its data; equal configs and photographs train equal models.

    Attributes:
        network: Which graph of `training.network` to train.
        epochs: Passes over the training split.
        seed: Seeds the initial weights, the order of the images and their augmentation. Splits, converted photographs
            and blends have seeds of their own, so that runs with different seeds share what takes long to make.
        optimizer: `adam` at a constant rate, or `sgd` with Nesterov momentum and a one-cycle rate.
        learning_rate: Adam's rate, or the peak of the one-cycle schedule.
        warmup: Share of all steps in which the one-cycle rate climbs to its peak; then it falls to zero.
        momentum: SGD's momentum.
        weight_decay: Decoupled decay of kernels per step, multiplied by the current rate.
        batch_size: Images per step.
        label_smoothing: Share of the target spread evenly over the ten classes.
        averaging: Decay per step of the exponential moving average of the weights, which is what is kept; 0 is off.
        flip: Mirror each image left to right in every second epoch.
        mirror: Export a model that averages the logits of an image and of its mirror image, at twice the cost.
        shift_pixels: Largest random shift along each axis, in pixels.
        cutout_pixels: Side of the square blanked at a random place of each image, in pixels; 0 is off.
        uncut_share: Share of the epochs, at the end, in which nothing is blanked: training ends on images as served.
        degraded_share: Share of the data set's images in a batch that are blurred, made noisy or changed in tone.
        precision: Arithmetic while training. `mixed_bfloat16` is 1.5 times faster on a CPU with AVX-512 BF16 and
            slower on one without. The exported graph is always float32.
        photos: How photographs are mixed in; None trains on the data set alone.
        distillation: How other models teach the network; None trains on labels alone.
        split_seed: Seeds what is held out of the data set and of the photographs. It is the same for all networks, so
            that they can be compared, and can teach one another, without having seen what they are measured on.
    """

    network: Network
    epochs: int
    seed: int
    optimizer: Literal["adam", "sgd"]
    learning_rate: float
    batch_size: int
    warmup: float = 0.0
    momentum: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    averaging: float = 0.0
    flip: bool = False
    mirror: bool = False
    shift_pixels: int = 0
    cutout_pixels: int = 0
    uncut_share: float = 0.0
    degraded_share: float = 0.0
    precision: Precision = "float32"
    photos: PhotoConfig | None = None
    distillation: DistillationConfig | None = None
    split_seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that contradict one another or are out of range."""
        if self.epochs < 1 or self.seed < 0:
            msg = f"expected one epoch at least and a seed of 0 or more, received {self.epochs} and {self.seed}"
            raise ValueError(msg)
        if self.distillation and self.label_smoothing:
            msg = (
                f"expected no label smoothing beside teachers, received {self.label_smoothing}: they soften the targets"
            )
            raise ValueError(msg)

        ignored = {name: value for name in ("warmup", "momentum", "weight_decay") if (value := getattr(self, name))}
        if self.optimizer == "adam" and ignored:
            msg = f"expected adam without warmup, momentum and weight_decay, which are sgd's, received {ignored}: the "
            msg += "card would name what nothing was done with"
            raise ValueError(msg)

    @property
    def uncut_from(self) -> int:
        """The first epoch in which nothing is blanked."""
        return self.epochs - round(self.epochs * self.uncut_share)

    @property
    def blends_a_batch(self) -> int:
        """The number of blends in a batch."""
        return round(self.batch_size * self.distillation.blended_share) if self.distillation else 0

    @property
    def photos_a_batch(self) -> int:
        """The number of photographs in a batch; their share does not count blends."""
        return round((self.batch_size - self.blends_a_batch) * self.photos.share) if self.photos else 0

    @property
    def images_a_batch(self) -> int:
        """The number of the data set's own images in a batch."""
        return self.batch_size - self.photos_a_batch - self.blends_a_batch

    def override(self, **values: float | str | PhotoConfig | DistillationConfig | None) -> TrainingConfig:
        """Return a copy with each given value that is not None."""
        given: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
        return replace(self, **given)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, ready for JSON."""
        return asdict(self)


_CNN = TrainingConfig(
    network="cnn",
    epochs=120,
    seed=0,
    optimizer="sgd",
    learning_rate=0.4,
    batch_size=512,
    warmup=0.2,
    momentum=0.9,
    weight_decay=2e-3,
    label_smoothing=0.1,
    averaging=0.99,
    flip=True,
    mirror=True,
    shift_pixels=2,
    cutout_pixels=9,
    uncut_share=0.07,
    degraded_share=0.3,
)

DEFAULTS: dict[Network, TrainingConfig] = {
    # The beginner's network, as in every tutorial.
    "mlp": TrainingConfig(network="mlp", epochs=20, seed=0, optimizer="adam", learning_rate=1e-3, batch_size=128),
    "cnn": _CNN,
    "tiny": _CNN.override(network="tiny"),
}


def native_precision(cpuinfo: Path = Path("/proc/cpuinfo")) -> Precision:
    """Return `mixed_bfloat16` where the processor multiplies bfloat16 in hardware, else `float32`.

    Args:
        cpuinfo: Linux's description of the processor; without it the answer is `float32`.
    """
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    return "mixed_bfloat16" if flags & {"avx512_bf16", "amx_bf16"} else "float32"
