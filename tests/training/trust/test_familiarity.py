from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.classifier import Answers
from training.config import DEFAULTS
from training.data import Split
from training.network import build
from training.pictures.augmentation import degrade
from training.pictures.photos import Photo
from training.pictures.unfamiliar import negated
from training.trust.evaluate import Evaluation
from training.trust.familiarity import auroc, fit_head, measure_familiarity, with_familiarity
from training.trust.photo_metrics import AnsweredPhotos

if TYPE_CHECKING:
    from training.config import Network
    from training.data import Data


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [([2, 3], [0, 1], 1), ([0, 1], [2, 3], 0), ([1, 1], [1, 1], 0.5), ([1, 3], [2, 0], 0.75)],
)
def test_the_auroc_is_the_share_of_pairs_in_the_right_order(
    positive: list[float], negative: list[float], expected: float
) -> None:
    assert auroc(np.array(positive, np.float32), np.array(negative, np.float32)) == expected


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_head_on_an_untrained_network_tells_noise_from_clothes_and_leaves_the_logits_alone(
    name: Network, data: Data
) -> None:
    config = DEFAULTS[name]
    network = build(config)
    none = np.empty((0, 28, 28), np.uint8)
    head = fit_head(network, data.train.images, none, none, config)
    noise = np.random.default_rng(0).integers(0, 256, (100, 28, 28), dtype=np.uint8)
    answering = with_familiarity(network, head)
    logits, of_clothes = answering.predict(data.test.images, verbose=0)
    assert logits == pytest.approx(network.predict(data.test.images, verbose=0), abs=1e-5)
    assert auroc(of_clothes, answering.predict(noise, verbose=0)[1]) > 0.9


def test_training_on_degraded_images_keeps_degraded_clothes_familiar_and_others_unfamiliar(data: Data) -> None:
    network = build(DEFAULTS["mlp"])
    rng = np.random.default_rng(0)
    clothes, others = degrade(data.test.images, 1.0, rng), degrade(negated(data.test.images, rng), 1.0, rng)
    none = np.empty((0, 28, 28), np.uint8)
    apart = []
    for share in (0.0, 1.0):
        config = DEFAULTS["mlp"].override(degraded_share=share)
        answering = with_familiarity(network, fit_head(network, data.train.images, none, none, config))
        of_known, of_clothes, of_others = (
            answering.predict(images, verbose=0)[1] for images in (data.test.images, clothes, others)
        )
        apart.append((auroc(of_clothes, of_known), auroc(of_clothes, of_others)))
    (before, _), (after, from_others) = apart
    assert before + 0.05 < after < 0.5  # at 0.5, damage makes no difference
    assert from_others > 0.98


def test_a_feature_that_never_fires_on_clothes_does_not_drown_the_others(data: Data) -> None:
    network = build(DEFAULTS["mlp"])
    kernel, bias = network.layers[-2].get_weights()
    kernel[:, 0], bias[0] = 1 / 784, -0.9  # fires on nearly white images only; the data set has none
    network.layers[-2].set_weights([kernel, bias])
    none = np.empty((0, 28, 28), np.uint8)
    answering = with_familiarity(network, fit_head(network, data.train.images, none, none, DEFAULTS["mlp"]))
    _, scores = answering.predict(np.full((1, 28, 28), 255, np.uint8), verbose=0)
    assert np.abs(scores).max() < 1000


def test_each_kind_is_told_from_test_images_and_unknown_garments_from_photographs_too(data: Data) -> None:
    split = Split(data.test.images[:20], data.test.class_ids[:20])

    def said(n: int, familiarity: float, probability: float) -> Answers:
        probabilities = np.full((n, 10), (1 - probability) / 9, np.float32)
        probabilities[:, 0] = probability
        return Answers(probabilities, np.full(n, familiarity, np.float32))

    photos = tuple(Photo(Path(f"{number}.jpg"), "pants" if number < 4 else "hat") for number in range(7))
    seen = Answers(*(np.concatenate(parts) for parts in zip(said(4, 0.01, 0.5), said(3, 0.03, 0.7), strict=True)))
    facts = measure_familiarity(
        lambda images: said(len(images), 0.02, 0.95),
        {"test": Evaluation(split, said(20, 0.8, 0.9))},
        AnsweredPhotos.of(photos, seen),
    )
    assert facts.flagged == {"test": 0, "photographs": 1}
    *made, hats, hats_from_clothes = facts.separations
    assert {(one.auroc, one.auroc_max_softmax, one.flagged) for one in made} == {(1, 0, 1)}
    assert (hats.n, hats.auroc, hats.auroc_max_softmax) == (3, 1, 1)
    assert (hats_from_clothes.n, hats_from_clothes.auroc, hats_from_clothes.auroc_max_softmax) == (3, 0, 0)
