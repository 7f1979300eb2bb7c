"""Teaches a trained network to say how familiar an image is, and measures how well it does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import layers
from sklearn.metrics import roc_auc_score

from app.model_card import FamiliarityFacts, SeparationFacts
from training.pictures.augmentation import degrade
from training.pictures.unfamiliar import FAMILIES, NEW_KINDS
from training.trust.evaluate import in_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from app.classifier import Answers
    from training.config import TrainingConfig
    from training.trust.evaluate import Evaluation
    from training.trust.photo_metrics import AnsweredPhotos

FALSE_ALARMS = 0.05
"""Share of the validation images that are called unfamiliar, and so the least familiarity of an image that is not."""

IMAGES_A_FAMILY = 5000
LEAST_VARIANCE = 1e-4
"""Least variance of a feature, as a share of the mean variance: a hundredth of the usual standard deviation."""

HIDDEN_UNITS = 64
EPOCHS = 6
BATCH_SIZE = 512


def with_familiarity(network: keras.Model, head: keras.Model) -> keras.Model:
    """Return the network with a second output, float32 `[batch]`: the higher, the more familiar the image."""
    scores = keras.ops.squeeze(head(_features(network)), axis=-1)
    return keras.Model(network.input, [network.output, scores], name=network.name)


def fit_head(
    network: keras.Model,
    images: NDArray[np.uint8],
    photos: NDArray[np.uint8],
    unfamiliar: NDArray[np.uint8],
    config: TrainingConfig,
) -> keras.Model:
    """Fit a small classifier of the network's features that separates familiar from unfamiliar images.

    The network itself does not change. Averages of its activations over the image cost next to nothing.

    Args:
        network: From uint8 `[batch, 28, 28]` to logits.
        images: uint8 `[n, 28, 28]`, the data set's images that it has learnt from; some of them are also made
            unfamiliar in every way that `training.pictures.unfamiliar` teaches.
        photos: uint8 `[m, 28, 28]`, converted photographs that it has learnt from; may be empty.
        unfamiliar: uint8 `[k, 28, 28]`, converted photographs of what has no class; may be empty.
        config: `seed` decides what is made unfamiliar, and the initial weights. Half of `degraded_share` is the share
            of all these images that are degraded.

    Returns:
        From features, float32 `[batch, width]`, to scores, `[batch, 1]`.

    Source:
        Hendrycks et al., "Deep Anomaly Detection with Outlier Exposure" (arXiv 1812.04606).
    """
    rng = np.random.default_rng(config.seed)
    size = min(IMAGES_A_FAMILY, len(images))
    made = (make(images[rng.integers(len(images), size=size)], rng) for make in FAMILIES.values())
    familiar = np.concatenate([images, _with_mirror_images(photos)])
    seen = np.concatenate([familiar, *made, _with_mirror_images(unfamiliar)])
    # If only familiar images were degraded, anything blurred or noisy would count as familiar. At the network's full
    # share, clothes would be recognised hardly better, and handwritten digits, which are blurred, worse.
    seen = degrade(seen, config.degraded_share / 2, rng)
    features = keras.Model(network.input, _features(network)).predict(seen, batch_size=500, verbose=0)
    is_familiar = (np.arange(len(seen)) < len(familiar)).astype(np.float32)
    keras.utils.set_random_seed(config.seed)
    mean, variance = features[: len(familiar)].mean(axis=0), features[: len(familiar)].var(axis=0)
    # Without a floor, a feature that never fires on familiar images would be divided by almost 0 and drown the others.
    normalization = layers.Normalization(mean=mean, variance=np.maximum(variance, LEAST_VARIANCE * variance.mean()))
    head = keras.Sequential(
        [
            keras.Input(features.shape[1:]),
            normalization,
            layers.Dropout(0.1),
            layers.Dense(HIDDEN_UNITS, activation="relu"),
            layers.Dense(1),
        ],
        name="familiarity",
    )
    # The rate falls to zero so that another seed changes little.
    rate = keras.optimizers.schedules.CosineDecay(2e-3, EPOCHS * math.ceil(len(seen) / BATCH_SIZE))
    head.compile(
        keras.optimizers.AdamW(rate, weight_decay=1e-3),
        keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=False,
    )
    head.fit(features, is_familiar, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0)
    return head


def measure_familiarity(
    classify: Callable[[NDArray[np.uint8]], Answers],
    evaluations: Mapping[str, Evaluation],
    photos: AnsweredPhotos | None,
) -> FamiliarityFacts:
    """Measure how much is called unfamiliar, wrongly and rightly.

    Args:
        classify: Takes uint8 `[n, 28, 28]`.
        evaluations: Answers by split; unfamiliar images are compared with those of `test`.
        photos: Held-out photographs, including those without a class.
    """
    test = evaluations["test"].answers
    known = {name: evaluation.answers for name, evaluation in evaluations.items()}
    separations = [
        _separation(name, test, in_batches(classify, images))
        for name, images in _others(evaluations["test"].split.images)
    ]
    if photos:
        known["photographs"] = photos.of_known
        if len(photos.of_unknown.familiarity):
            separations += [
                _separation("photographs of hats, shorts and skirts", test, photos.of_unknown),
                _separation("the same, from photographs of known clothes", photos.of_known, photos.of_unknown),
            ]
    return FamiliarityFacts(
        threshold=FALSE_ALARMS,
        flagged={name: flagged(answers) for name, answers in known.items()},
        separations=tuple(separations),
    )


def _others(images: NDArray[np.uint8]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the name and the images of each taught family, made of test images, and of each new kind."""
    rng = np.random.default_rng(1)
    images = images[rng.permutation(len(images))[:IMAGES_A_FAMILY]]
    for name, make in (FAMILIES | NEW_KINDS).items():
        yield name, make(images, rng)


def _separation(name: str, known: Answers, others: Answers) -> SeparationFacts:
    return SeparationFacts(
        images=name,
        n=len(others.familiarity),
        auroc=auroc(known.familiarity, others.familiarity),
        auroc_max_softmax=auroc(known.probabilities.max(axis=1), others.probabilities.max(axis=1)),
        flagged=flagged(others),
    )


def auroc(positive: NDArray[np.float32], negative: NDArray[np.float32]) -> float:
    """Return the probability that a positive score exceeds a negative one; ties count half."""
    is_positive = np.repeat([True, False], [len(positive), len(negative)])
    return float(roc_auc_score(is_positive, np.concatenate([positive, negative])))


def flagged(answers: Answers) -> float:
    """Return the share of images that are called unfamiliar."""
    return float((answers.familiarity < FALSE_ALARMS).mean())


def _with_mirror_images(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([images, images[:, :, ::-1]])


def _features(network: keras.Model) -> keras.KerasTensor:
    """Join each activation's average over the image with the last layer's input, `[batch, width]`."""
    activations = [layer.output for layer in network.layers if isinstance(layer, layers.ReLU)]
    averages = [layers.GlobalAveragePooling2D()(activation) for activation in activations]
    return keras.ops.concatenate([*averages, network.get_layer("logits").input], axis=-1)
