"""Writes the model card as a page that a user can read in two minutes."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from app.http.pages import html_head

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.model_card import (
        DamageMetrics,
        FamiliarityFacts,
        ModelCard,
        PhotoMetrics,
        PredictionSetFacts,
        ReliabilityBin,
        SplitMetrics,
        TrainingFacts,
    )
    from app.schemas import Limits, ModelInformation

SHADES = 8
"""Steps from the background to the darkest cell of a confusion matrix: `.shade-0` to `.shade-8` in the style sheet."""
PLOT = 300
"""Side of the reliability diagram, in its own units."""


def model_page(information: ModelInformation) -> str:
    """Write the page, leaving out what the card does not have.

    Args:
        information: What `/model` returns to programs.
    """
    card = information.card
    test = card.metrics["test"]
    return f"""{html_head("Model card")}
<body class="card">
  <header class="top">
    <a class="brand" href="./">Fashion-MNIST</a>
    <nav aria-label="More"><a href="model" aria-current="page">Model card</a> <a href="docs">API</a></nav>
  </header>
  <main>
    <div class="intro">
      <h1>How far to trust this model</h1>
      <p>{escape(card.name)}, version {escape(card.version)}: which kind of garment a picture shows.</p>
    </div>
    {_headlines(test, card.photos, _in_force(information))}
    {_purpose(card)}
    <div class="pair">{_accuracy(card)}{_classes(test)}</div>
    {_confusion(card.labels, test.confusion) if test.confusion else ""}
    <div class="pair">{_sets(card.prediction_sets, information.coverage)}{_calibration(card)}</div>
    {_familiarity(card.familiarity)}
    {_corruptions(card.corruptions, test) if card.corruptions else ""}
    <div class="pair">{_training(card)}{_limits(information.limits)}</div>
  </main>
  <footer><p>Programs get the same as JSON: <code>curl</code> this address. Service version
    {escape(information.service_version)}.</p></footer>
</body>
</html>
"""


def _in_force(information: ModelInformation) -> PredictionSetFacts:
    return next(one for one in information.card.prediction_sets if one.coverage == information.coverage)


def _headlines(test: SplitMetrics, photos: PhotoMetrics | None, sets: PredictionSetFacts) -> str:
    tiles = [
        (f"{test.accuracy:.2%}", f"of {test.n:,} test images are named correctly ({_range(test.accuracy_interval_95)})")
    ]
    if photos:
        told = f"of {photos.held_out:,} photographs that it was not trained on get a label that fits "
        told += f"({_range(photos.accuracy_interval_95)}); they helped to choose the model"
        tiles.append((f"{photos.accuracy:.1%}", told))
    told = f"of test images have the right label among those it names: {sets.test_mean_size:.2f} labels on average"
    tiles.append((f"{sets.test_coverage:.1%}", told))
    items = "".join(f"<li><strong>{figure}</strong> {words}</li>" for figure, words in tiles)
    return f'<ul class="headlines">{items}</ul>'


def _purpose(card: ModelCard) -> str:
    *most, last = map(escape, card.labels)
    return f"""<section class="halves">
      <div><h2>What it is for</h2>
      <p>Naming the garment in a picture that shows one garment, as one of {", ".join(most)} or {last}: to learn from,
      as a benchmark for other systems, to sort pictures where a mistake costs little.</p></div>
      <div><h2>What it is not for</h2>
      <p>Several garments at once, people wearing them, brands, sizes or anything else that is not on this list. It
      names every picture as one of these, and only calling it unfamiliar says that it may be none. Nor is it for
      decisions that matter, unless a person checks them.</p></div>
    </section>"""


def _accuracy(card: ModelCard) -> str:
    rows = [
        (f"Fashion-MNIST, {name} split", f"{split.n:,}", f"{split.accuracy:.2%}", _range(split.accuracy_interval_95))
        for name, split in card.metrics.items()
    ]
    if card.photos:
        photos = card.photos
        rows.append(
            ("Photographs", f"{photos.held_out:,}", f"{photos.accuracy:.1%}", _range(photos.accuracy_interval_95))
        )
        rows += [
            (f"… of these: {folder}", f"{one.n:,}", f"{one.right / one.n:.1%}", "")
            for folder, one in photos.folders.items()
        ]
        if one := photos.one_label:
            rows.append(("… for which exactly one label is right", f"{one.n:,}", f"{one.right / one.n:.1%}", ""))
        rows += [
            (f"… for which, by eye, only one label is right: {label}", f"{one.n:,}", f"{one.right / one.n:.1%}", "")
            for label, one in photos.told_apart.items()
        ]
    return f"""<section><h2>How often it is right</h2>
      <p>The interval contains the true share 95 times in 100. It covers the choice of images, not the choice of
      training seed. {"A photograph counts as right when the label fits its folder." if card.photos else ""}</p>
      {_table("Right first labels", ("pictures", "n", "right", "95% interval"), rows)}</section>"""


def _classes(test: SplitMetrics) -> str:
    worst = min(test.classes, key=lambda one: one.recall)
    rows = [(one.label, f"{one.precision:.1%}", f"{one.recall:.1%}") for one in test.classes]
    return f"""<section><h2>Which classes it gets wrong</h2>
      <p>Worst is {escape(worst.label)}: {1 - worst.recall:.0%} get another label.</p>
      {_table("Each class of the test split", ("class", "right when named", "found of all"), rows)}</section>"""


def _confusion(labels: tuple[str, ...], counts: tuple[tuple[int, ...], ...]) -> str:
    head = "".join(f'<th scope="col"><span>{escape(label)}</span></th>' for label in labels)
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th>'
        + "".join(f'<td class="shade-{_shade(count, sum(row))}">{count or "·"}</td>' for count in row)
        + "</tr>"
        for label, row in zip(labels, counts, strict=True)
    )
    return f"""<section><h2>What it confuses</h2>
      <p>Rows are the true classes of the test images, columns the classes that it named.</p>
      <div class="wide" tabindex="0" role="region" aria-label="Confusion matrix"><table class="confusion">
      <caption class="unseen">Test images by true class (rows) and named class (columns)</caption>
      <thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>"""


def _shade(count: int, total: int) -> int:
    """Return the shade for the square root of the share, which makes rare mistakes visible."""
    return round(SHADES * math.sqrt(count / max(total, 1)))


def _calibration(card: ModelCard) -> str:
    test, photos = card.metrics["test"], card.photos
    of_photos = ""
    if photos and photos.ece_equal_mass is not None:
        of_photos = f" On photographs they are {100 * photos.ece_equal_mass:.1f} points off"
        if photos.ece_by_chance is not None:
            of_photos += f"; chance alone would make that {100 * photos.ece_by_chance:.1f}"
        of_photos += "."
    before = ""
    if card.uncalibrated:
        before = f" Before calibration they were {100 * card.uncalibrated.ece_equal_mass:.1f} points off."
    return f"""<section><h2>Whether its percentages mean what they say</h2>
      <p>On the test split they are {100 * test.ece_equal_mass:.1f} points off on average (expected calibration error in
      15 bins of equal mass; {100 * test.ece_equal_width:.1f} in bins of equal width). Negative log-likelihood
      {test.negative_log_likelihood:.4f}, Brier score {test.brier_score:.4f}, n = {test.n:,}.{before}{of_photos}</p>
      {_reliability(test.reliability) if test.reliability else ""}</section>"""


def _reliability(bins: tuple[ReliabilityBin, ...]) -> str:
    points = [(PLOT * one.confidence, PLOT * (1 - one.accuracy)) for one in bins]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points)
    ticks = "".join(
        f'<text x="{PLOT * share:.0f}" y="{PLOT + 20}" text-anchor="middle">{share:.0%}</text>'
        f'<text x="-8" y="{PLOT * (1 - share) + 4:.0f}" text-anchor="end">{share:.0%}</text>'
        for share in (0, 0.5, 1)
    )
    return f"""<svg class="reliability" viewBox="-52 -12 {PLOT + 76} {PLOT + 62}" role="img"
      aria-label="Share of right answers against the probability given, in {len(bins)} bins, beside the ideal diagonal">
      <rect width="{PLOT}" height="{PLOT}"/><path d="M0 {PLOT} {PLOT} 0"/><polyline points="{line}"/>{dots}{ticks}
      <text x="{PLOT / 2}" y="{PLOT + 42}" text-anchor="middle">probability given</text>
      <text x="-40" y="{PLOT / 2}" text-anchor="middle" transform="rotate(-90 -40 {PLOT / 2})">share that is
      right</text></svg>"""


def _sets(fitted: tuple[PredictionSetFacts, ...], in_force: float) -> str:
    has_photos = any(one.photos_coverage is not None for one in fitted)
    rows = [
        (
            f"{one.coverage:.0%}" + (", as here" if one.coverage == in_force else ""),
            f"{one.test_coverage:.1%}",
            f"{one.test_mean_size:.2f}",
            f"{one.test_worst_class} {one.test_worst_class_coverage:.1%}",
            *(() if one.photos_coverage is None else (f"{one.photos_coverage:.1%}",)),
        )
        for one in fitted
    ]
    photos = " and, with their own threshold, for photographs" if any(one.photos_threshold for one in fitted) else ""
    head = ("asked for", "right label inside", "labels", "worst class", *(("photographs",) if has_photos else ()))
    return f"""<section><h2>How often the right label is among those it names</h2>
      <p>It names every label whose probability reaches a threshold, and always the first. The threshold is fitted so
      that the right label is among them as often as asked for. This holds for pictures like those of the data
      set{photos}, on average over all classes.</p>
      {_table("Sets of labels on the test split", head, rows)}</section>"""


def _familiarity(facts: FamiliarityFacts) -> str:
    false_alarms = ", ".join(f"{share:.1%} of {escape(name)}" for name, share in facts.flagged.items())
    head = ("images", "n", "called unfamiliar", "AUROC", "of the highest probability")
    rows = [
        (one.images, f"{one.n:,}", f"{one.flagged:.1%}", f"{one.auroc:.4f}", f"{one.auroc_max_softmax:.4f}")
        for one in facts.separations
    ]
    table = _table("Images of something else", head, rows) if rows else ""
    return f"""<section><h2>Whether it notices what it does not know</h2>
      <p>A picture is called unfamiliar when fewer than {facts.threshold:.0%} of the validation images are less typical.
      {f"False alarms: {false_alarms}." if false_alarms else ""} AUROC is the chance that an image of
      something else is less familiar than a test image, or than what the row names; beside it is the same for the
      highest probability.</p>
      {table}</section>"""


def _corruptions(corruptions: dict[str, tuple[DamageMetrics, ...]], test: SplitMetrics) -> str:
    rows = [
        (
            f"{kind} {', '.join(f'{one.strength:g}' for one in damaged)}",
            f"{test.accuracy:.1%}",
            *(f"{one.accuracy:.1%}" for one in damaged),
        )
        for kind, damaged in corruptions.items()
    ]
    strengths = (f"strength {number}" for number in range(1, 6))
    return f"""<section><h2>What damage costs it</h2>
      <p>How often it is right on damaged test images, at 28x28 pixels and without conversion, from the weakest damage
      to the strongest.</p>
      {_table("Damaged test images", ("damage", "none", *strengths), rows)}</section>"""


def _training(card: ModelCard) -> str:
    training, photos = card.training, card.photos
    learnt = f"and {photos.learnt_from:,} photographs{_collection(photos)}, " if photos else ""
    if training.teachers:
        learnt += f"with the answers of {training.teachers} earlier models to them, "
    if training.continued:
        learnt += "starting from the weights of the first of these, "
    return f"""<section><h2>What it learnt from</h2>
      <p>The training split of <a href="https://github.com/zalandoresearch/fashion-mnist">Fashion-MNIST</a> by
      Zalando SE {learnt}in {training.epochs} epochs, which took {training.minutes:.0f} minutes on
      {escape(training.machine)}.
      No epoch was chosen on the test split. {card.network.parameters:,} parameters,
      {card.network.multiply_accumulates / 1e6:.1f} million multiply-accumulates per image.
      {_versions(training)}</p></section>"""


def _collection(photos: PhotoMetrics) -> str:
    if not (source := photos.collection):
        return ""
    return f' of <a href="{escape(source.url)}">{escape(source.name)}</a> ({escape(source.license)})'


def _versions(training: TrainingFacts) -> str:
    return ", ".join(f"{escape(name)} {escape(version)}" for name, version in training.versions.items())


def _limits(limits: Limits) -> str:
    return f"""<section><h2>What this service accepts</h2>
      <p>{", ".join(limits.formats)}; at most {_short(limits.max_body_bytes / 2**20)} MiB and
      {_short(limits.max_image_pixels / 1e6)} megapixels a picture, {limits.max_batch_files} pictures a batch,
      {limits.request_timeout_seconds:g} seconds a request.</p></section>"""


def _short(number: float) -> str:
    """Write three significant digits, or the whole integer part where `g` would use an exponent."""
    return f"{number:.3g}" if number < 100 else f"{number:,.0f}"  # noqa: PLR2004  the least number of three digits


def _table(caption: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a table whose first column holds the row headers; everything is escaped."""
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return f"""<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table>
      <caption class="unseen">{escape(caption)}</caption>
      <thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"""


def _range(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{100 * low:.1f} to {high:.1%}"
