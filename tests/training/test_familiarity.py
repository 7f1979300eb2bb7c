from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from training.config import DEFAULTS
from training.familiarity import auroc, fit_head, with_familiarity
from training.network import build

if TYPE_CHECKING:
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
    name: str, data: Data
) -> None:
    network = build(DEFAULTS[name])  # type: ignore[index]  # the literals above
    none = np.empty((0, 28, 28), np.uint8)
    head = fit_head(network, data.train.images, none, none, seed=0)
    noise = np.random.default_rng(0).integers(0, 256, (100, 28, 28), dtype=np.uint8)
    answering = with_familiarity(network, head)
    logits, of_clothes = answering.predict(data.test.images, verbose=0)
    assert logits == pytest.approx(network.predict(data.test.images, verbose=0), abs=1e-5)
    assert auroc(of_clothes, answering.predict(noise, verbose=0)[1]) > 0.9


def test_a_feature_that_never_fires_on_clothes_does_not_drown_the_others(data: Data) -> None:
    network = build(DEFAULTS["mlp"])
    kernel, bias = network.layers[-2].get_weights()
    kernel[:, 0], bias[0] = 1 / 784, -0.9  # fires on what is nearly white, as no image of the data set is
    network.layers[-2].set_weights([kernel, bias])
    none = np.empty((0, 28, 28), np.uint8)
    answering = with_familiarity(network, fit_head(network, data.train.images, none, none, seed=0))
    _, scores = answering.predict(np.full((1, 28, 28), 255, np.uint8), verbose=0)
    assert np.abs(scores).max() < 1000
