"""`python -m benchmarks.photos FOLDER`: how often is a photograph of clothing classified right, and how fast?

Each photograph is processed like any upload, one at a time in one thread: decoded, converted, recognised in colour,
classified.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.classifier import Answers, SavedModelClassifier
from app.errors import StartError
from app.imaging.conversion import Mode, convert
from app.imaging.recognition import evidence_in, weigh
from app.model_card import FolderMetrics
from app.settings import Settings
from benchmarks.contact_sheet import Cell, draw_sheet
from training.data import LABELS
from training.errors import TrainingError
from training.machine import machine
from training.markdown import table
from training.pictures.photos import (
    CLASSES_OF,
    decode_photo,
    list_photos,
    require_readable,
    split_photos,
)
from training.pictures.upload import decode_upload
from training.recogniser.config import RecogniserConfig
from training.trust.evaluate import wilson_interval
from training.trust.photo_metrics import AnsweredPhotos, constant_answers
from training.trust.reliability import error_by_chance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from app.classifier import Classifier
    from app.model_card import ModelCard
    from training.pictures.photos import Photo

STAGES = ("decode", "convert", "recognise", "classify")
SCORE_COLUMNS = ("n", "right", "share", "95% interval")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one photograph.

    Attributes:
        photo: The photograph.
        image: What the model saw, uint8 `[28, 28]`.
        mode: How it was converted.
        is_found: Whether a garment was found.
        answer: The probabilities from the model and the photograph's colours, float32 `[10]`, and the familiarity.
        seconds: How long each of `STAGES` took.
    """

    photo: Photo
    image: NDArray[np.uint8]
    mode: str
    is_found: bool
    answer: Answers
    seconds: tuple[float, ...]

    @property
    def label(self) -> str:
        """The most probable class."""
        return LABELS[self.answer.probabilities.argmax()]

    @property
    def is_right(self) -> bool | None:
        """Whether the label is one of the folder's; None where Fashion-MNIST has no right one."""
        labels = CLASSES_OF[self.photo.folder]
        return self.label in labels if labels else None


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.photos", description=__doc__)
    made.add_argument("folder", type=Path, metavar="FOLDER", help=f"holds the folders {', '.join(CLASSES_OF)}")
    made.add_argument("--model", type=Path, default=Settings().model_dir, metavar="FOLDER")
    made.add_argument(
        "--all",
        action="store_true",
        help="every photograph of a collection that nothing was learnt from (default: those that training holds out)",
    )
    made.add_argument("--conversion", type=Mode, default=Mode.AUTO, choices=[*Mode], help="as of /predict")
    made.add_argument("--sheet", type=Path, metavar="PNG", help="where to draw photographs with their answers")
    made.add_argument("--cells", type=int, default=60, metavar="N", help="most photographs to draw (default: 60)")
    return made


def main() -> None:
    """Print the page, and draw the sheet if asked to."""
    command = parser()
    given = command.parse_args()
    try:
        classifier, photos, choice = load_both(given.model, given.folder, everything=given.all)
    except (StartError, TrainingError) as error:
        command.error(str(error))
    card = classifier.card
    outcomes = [answer(photo, classifier, given.conversion) for photo in photos]
    title = f"{card.name} {card.version} on {len(photos):,} photographs"
    print(f"# {title}\n\nPhotographs: {choice}. One thread on {machine()}.\n\n{page(outcomes)}")
    if given.sheet:
        cells = [cell(outcome) for outcome in pick(outcomes, given.cells)]
        draw_sheet(f"{title}: {len(cells)} of them, wrong ones first", cells).save(given.sheet)


def load_both(artifact: Path, folder: Path, *, everything: bool) -> tuple[Classifier, list[Photo], str]:
    """Load a model and choose the photographs of a folder to measure it on, as `choose` does.

    Raises:
        StartError: The artifact cannot be used.
        TrainingError: The folder is not as described in `training.pictures.photos`, or holds an unreadable photograph.
    """
    classifier = SavedModelClassifier(artifact, threads=1)
    photos, choice = choose(list_photos(folder), classifier.card, everything=everything)
    require_readable(photos)
    return classifier, photos, choice


def known_photos(command: argparse.ArgumentParser) -> tuple[Classifier, list[Photo]]:
    """Read a command line with a folder and a model, and say on which photographs the model is to be measured.

    Returns:
        The model, and the held-out photographs for which Fashion-MNIST has a label.
    """
    command.add_argument("folder", type=Path, help="photographs in folders named as in training/pictures/photos.py")
    command.add_argument("--model", type=Path, default=Settings().model_dir, metavar="ARTIFACT")
    given = command.parse_args()
    try:
        classifier, photos, choice = load_both(given.model, given.folder, everything=False)
    except (StartError, TrainingError) as error:
        command.error(str(error))
    known = [photo for photo in photos if CLASSES_OF[photo.folder]]
    print(f"n = {len(known)} photographs: {choice}\n")
    return classifier, known


def choose(photos: list[Photo], card: ModelCard, *, everything: bool) -> tuple[list[Photo], str]:
    """Return the photographs to measure on, and a phrase that says which they are.

    A photograph's own name decides whether it is held out, so that other files may be added to a collection or removed.

    Args:
        photos: All that there are.
        card: The model's card. Its training config says what was held out, if the model learnt from photographs; if it
            did not, the networks that find garments and see colours did.
        everything: Whether to measure on those that may have been learnt from too.
    """
    if everything:
        return photos, "all there are, whether learnt from or not"
    config = card.training.config
    share, seed = RecogniserConfig().held_out_share, RecogniserConfig().split_seed
    if config.get("photos"):
        share, seed = config["photos"]["held_out_share"], config["split_seed"]
    return split_photos(photos, share, seed)[1], f"those that training holds out (share {share:g}, seed {seed})"


def answer(photo: Photo, classifier: Classifier, mode: Mode = Mode.AUTO) -> Outcome:
    """Process a photograph like any upload, and time each stage."""
    data = photo.path.read_bytes()
    times = [time.perf_counter()]
    decoded = decode_upload(data)
    times.append(time.perf_counter())
    converted = convert(decoded.pixels, mode, decoded.opacity)
    times.append(time.perf_counter())
    evidence = evidence_in(converted.colours, classifier.card.labels)
    times.append(time.perf_counter())
    (probabilities,), (familiarity,) = classifier.classify(converted.image[None])
    times.append(time.perf_counter())
    return Outcome(
        photo=photo,
        image=converted.image,
        mode=converted.mode,
        is_found="no_garment_found" not in converted.steps,
        answer=Answers(weigh(probabilities, evidence, classifier.card.photo_temperature), familiarity),
        seconds=tuple(after - before for before, after in itertools.pairwise(times)),
    )


def answered(outcomes: Sequence[Outcome]) -> AnsweredPhotos:
    """Combine the outcomes into what is scored."""
    answers = Answers(*map(np.array, zip(*(outcome.answer for outcome in outcomes), strict=True)))
    return AnsweredPhotos.of([outcome.photo for outcome in outcomes], answers)


def confusion(outcomes: Iterable[Outcome]) -> dict[str, Counter[str]]:
    """Count the labels that were given to the photographs of each folder."""
    counts: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        counts.setdefault(outcome.photo.folder, Counter())[outcome.label] += 1
    return counts


def milliseconds(outcomes: Iterable[Outcome]) -> dict[str, tuple[float, float]]:
    """Return the median and the 95th percentile of each stage's time and of their sum, in milliseconds."""
    times = 1000 * np.array([(*outcome.seconds, sum(outcome.seconds)) for outcome in outcomes])
    median, slow = np.percentile(times, (50, 95), axis=0).tolist()
    return dict(zip((*STAGES, "together"), zip(median, slow, strict=True), strict=True))


def conversions(outcomes: Sequence[Outcome]) -> dict[str, tuple[int, int]]:
    """Count the photographs of each conversion mode, and those among them without a garment found."""
    modes = Counter(outcome.mode for outcome in outcomes)
    empty = Counter(outcome.mode for outcome in outcomes if not outcome.is_found)
    return {mode: (n, empty[mode]) for mode, n in modes.most_common()}


def page(outcomes: Sequence[Outcome]) -> str:
    """Return all tables as Markdown."""
    scored = answered(outcomes)
    right = [score_row(f"{folder}: {', '.join(CLASSES_OF[folder])}", score) for folder, score in scored.folders.items()]
    if right:
        right.append(score_row("**overall**", FolderMetrics(n=len(scored.known), right=int(scored.right.sum()))))
    answers = [_answers_row(folder, counts) for folder, counts in confusion(outcomes).items()]
    times = [(stage, f"{median:.2f}", f"{slow:.2f}") for stage, (median, slow) in milliseconds(outcomes).items()]
    modes = [(f"`{mode}`", n, empty) for mode, (n, empty) in conversions(outcomes).items()]
    return "\n\n".join(
        (
            table(("folder: right labels", *SCORE_COLUMNS), right),
            *_of_one_label(scored),
            table(("folder, answered as (bold: right)", *LABELS), answers),
            table(("milliseconds a photograph", "median", "95th percentile"), times),
            table(("conversion", "photographs", "no garment found"), modes),
        )
    )


def pick(outcomes: Sequence[Outcome], most: int) -> list[Outcome]:
    """Choose evenly spaced outcomes: first wrong ones, at most half of all, then the others in proportion."""
    wrong = [one for one in outcomes if one.is_right is False]
    others = sorted((one for one in outcomes if one.is_right is not False), key=lambda one: one.is_right is None)
    first = _spread(wrong, most // 2)
    return first + _spread(others, most - len(first))


def _spread(outcomes: Sequence[Outcome], most: int) -> list[Outcome]:
    places = np.linspace(0, len(outcomes) - 1, min(most, len(outcomes))).round().astype(int)
    return [outcomes[place] for place in places]


def cell(outcome: Outcome) -> Cell:
    """Return the sheet's cell for an outcome."""
    return Cell(
        photograph=decode_photo(outcome.photo),
        seen=outcome.image,
        answer=f"{outcome.label} {outcome.answer.probabilities.max():.0%}",
        kind=outcome.photo.folder,
        is_right=outcome.is_right,
    )


def _of_one_label(scored: AnsweredPhotos) -> Iterator[str]:
    """Yield the metrics of photographs that only one label fits, if there are any."""
    if apart := scored.told_apart:
        yield table(("label by eye", *SCORE_COLUMNS), (score_row(label, score) for label, score in apart.items()))
        yield f"Always the same label would be right as often as this: {constant_answers(apart)}."
    if (error := scored.calibration_error) is not None:
        said, is_it = scored.of_one_label
        yield f"One label alone fits {len(is_it)}; {is_it.sum()} of these get it, {is_it.mean():.1%}."
        chance = error_by_chance(said, "mass")
        yield (
            f"Expected calibration error over these, 15 bins of equal mass: {error:.3f}, {chance:.3f} by chance. Where "
            "the model's temperature was fitted to these very photographs, this is too low; the card has it for each "
            "fifth of them at the temperature fitted to the others."
        )


def score_row(name: str, score: FolderMetrics) -> tuple[object, ...]:
    """Return a row of `SCORE_COLUMNS` after its name."""
    low, high = wilson_interval(score.right, score.n)
    return name, score.n, score.right, f"{score.right / score.n:.1%}", f"{low:.1%} to {high:.1%}"


def _answers_row(folder: str, counts: Counter[str]) -> tuple[str, ...]:
    right = CLASSES_OF[folder]
    return folder, *(f"**{counts[label]}**" if label in right else str(counts[label]) for label in LABELS)


if __name__ == "__main__":
    main()
