from __future__ import annotations

import re
from typing import Any

import pytest

from app.http.model_page import model_page
from app.imaging.decode import FORMATS
from app.model_card import (
    CalibrationMetrics,
    Collection,
    DamageMetrics,
    FamiliarityFacts,
    FolderMetrics,
    PhotoMetrics,
    ReliabilityBin,
    SeparationFacts,
)
from app.schemas import Limits, ModelInformation
from app.settings import Settings
from tests.fakes import make_card


def page(settings: Settings | None = None, **changes: Any) -> str:  # noqa: ANN401  fields of a card
    settings = settings or Settings()
    limits = {name: getattr(settings, name) for name in Limits.model_fields if name != "formats"}
    return model_page(
        ModelInformation(
            card=make_card().model_copy(update=changes),
            coverage=0.95,
            limits=Limits(formats=FORMATS, **limits),
            service_version="1.2.3",
        )
    )


def text(html: str) -> str:
    """Return the text of a page, without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_a_figure_is_shown_with_its_n_and_its_interval() -> None:
    assert "50.00% of 10 test images are named correctly (20.0 to 80.0%)" in text(page())
    assert "95.0% of test images have the right label among those it names: 1.00 labels on average" in text(page())
    assert "95%, as here" in text(page())


def test_what_a_card_does_not_contain_is_left_out() -> None:
    plain = text(page())
    assert "hotograph" not in plain
    assert "What it confuses" not in plain
    assert "<svg" not in page()
    assert "called unfamiliar AUROC" not in plain
    assert "Before calibration" not in plain
    assert "damage" not in plain


def test_photographs_are_reported_by_kind() -> None:
    photos = PhotoMetrics(
        digest="0" * 64,
        learnt_from=1234,
        held_out=40,
        accuracy=0.75,
        accuracy_interval_95=(0.6, 0.9),
        folders={"hats & caps": FolderMetrics(n=40, right=30)},
        told_apart={"hats & caps": FolderMetrics(n=8, right=6)},
    )
    told = page(photos=photos)
    assert "75.0% of 40 photographs that it was not trained on get a label that fits (60.0 to 90.0%); they" in text(
        told
    )
    assert "… of these: hats &amp; caps 40 75.0%" in text(told)
    assert "… for which, by eye, only one label is right: hats &amp; caps 8 75.0%" in text(told)
    assert "and 1,234 photographs, in" in text(told)
    collection = Collection(name="at home & away", url="https://example.org/?a&b", license="CC0-1.0")
    told = page(photos=photos.model_copy(update={"collection": collection}))
    link = '<a href="https://example.org/?a&amp;b">at home &amp; away</a> (CC0-1.0), in'
    assert f"1,234 photographs of {link}" in " ".join(told.split())


def test_teachers_are_mentioned() -> None:
    training = make_card().training
    taught = training.model_copy(update={"config": {"distillation": {"teachers": ["one", "other"]}}})
    assert "with the answers of 2 earlier models to them" in text(page(training=taught))
    assert "earlier models" not in text(page())


def test_mistakes_are_counted_and_shaded_by_their_share() -> None:
    counts = [[0] * 10 for _ in range(10)]
    counts[6][6], counts[6][0] = 75, 25
    card = make_card()
    test = card.metrics["test"].model_copy(update={"confusion": tuple(map(tuple, counts))})
    told = page(metrics={"test": test})
    assert "What it confuses" in told
    (row,) = re.findall(r'<tr><th scope="row">Shirt</th>(<td class="shade.+?)</tr>', told)
    cells = re.findall(r'<td class="shade-(\d)">(.+?)</td>', row)
    assert cells[0] == ("4", "25")
    assert cells[6] == ("7", "75")
    assert set(cells[1:6] + cells[7:]) == {("0", "·")}


def test_reliability_is_drawn_from_the_bins() -> None:
    bins = (
        ReliabilityBin(share=0.5, confidence=0.5, accuracy=0.25),
        ReliabilityBin(share=0.5, confidence=1, accuracy=1),
    )
    test = make_card().metrics["test"].model_copy(update={"reliability": bins})
    drawn = page(metrics={"test": test})
    assert "<svg" in drawn
    assert '<polyline points="150.0,225.0 300.0,0.0"/>' in drawn
    assert drawn.count("<circle") == 2


def test_the_error_before_calibration_is_reported() -> None:
    before = CalibrationMetrics(
        negative_log_likelihood=0.5, brier_score=0.2, ece_equal_mass=0.123, ece_equal_width=0.12
    )
    assert "Before calibration they were 12.3 points off." in text(page(uncalibrated=before))


def test_accuracy_on_damaged_images_is_shown_beside_that_on_undamaged_ones() -> None:
    damaged = tuple(
        DamageMetrics(strength=strength, accuracy=accuracy, ece_equal_mass=0.1)
        for strength, accuracy in ((0.1, 0.4), (0.2, 0.3), (0.3, 0.2), (0.4, 0.1), (0.5, 0.05))
    )
    told = text(page(corruptions={"brightness, share": damaged}))
    assert "damage none strength 1 strength 2 strength 3 strength 4 strength 5" in told
    assert "brightness, share 0.1, 0.2, 0.3, 0.4, 0.5 50.0% 40.0% 30.0% 20.0% 10.0% 5.0%" in told


def test_the_detection_of_unfamiliar_pictures_is_reported_with_its_false_alarms() -> None:
    separation = SeparationFacts(images="<digits>", n=1797, auroc=0.9994, auroc_max_softmax=0.9, flagged=1.0)
    facts = FamiliarityFacts(threshold=0.05, flagged={"test": 0.0584}, separations=(separation,))
    told = page(familiarity=facts)
    assert "False alarms: 5.8% of test." in text(told)
    assert "called unfamiliar AUROC of the highest probability &lt;digits&gt; 1,797 100.0% 0.9994 0.9000" in text(told)
    assert "<digits>" not in told


@pytest.mark.parametrize(
    ("max_bytes", "max_pixels", "told"),
    [
        (10 * 2**20, 50_000_000, "at most 10 MiB and 50 megapixels a picture"),
        (1_600_000, 1_500_000, "at most 1.53 MiB and 1.5 megapixels a picture"),
        (100_000, 784, "at most 0.0954 MiB and 0.000784 megapixels a picture"),
        (2048 * 2**20, 1_234_000_000, "at most 2,048 MiB and 1,234 megapixels a picture"),
    ],
)
def test_small_and_large_limits_are_shown_too(max_bytes: int, max_pixels: int, told: str) -> None:
    assert told in text(page(Settings(max_body_bytes=max_bytes, max_image_pixels=max_pixels)))


def test_names_are_escaped() -> None:
    told = page(name="<b>", labels=("<i>", *["Dress"] * 9))
    assert [name in told for name in ("<b>", "<i>", "&lt;b&gt;", "&lt;i&gt;")] == [False, False, True, True]
