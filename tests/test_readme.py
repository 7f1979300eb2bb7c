"""The README and the pages that it links to, checked against the code and the measured figures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app import errors
from app.__main__ import HANG_SECONDS
from app.classifier import Answers, SavedModelClassifier
from app.client import FashionClient
from app.client.__main__ import main as client_command
from app.http.patience import UNWATCHED_SECONDS
from app.http.protocol import Protocol
from app.main import create_app
from app.model_card import SplitMetrics, read_verified
from app.pacing import PAUSE_SECONDS
from app.predictor import STUCK_SECONDS
from app.processes.supervisor import FIRST_PAUSE_SECONDS, LOAD_SECONDS, LONGEST_PAUSE_SECONDS
from app.settings import PREFIX, Settings, read_settings
from tests.conftest import encoded, listening
from tests.fakes import FirstPixelClassifier, tagged_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from app.schemas import Conversion
    from training.data import Data

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
USAGE, OPERATING, RESULTS, HOW_IT_WORKS = (
    (ROOT / f"docs/{name}.md").read_text() for name in ("usage", "operating", "results", "how-it-works")
)


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """Yield the URL of a service with the shipped model."""
    with listening(create_app(Settings(), SavedModelClassifier(ROOT / Settings().model_dir))) as url:
        yield url


def test_the_first_request_gives_the_answer_shown_beside_it(service: str) -> None:
    shown = json.loads(re.findall(r"```json\n(.+?)```", README, re.DOTALL)[0])
    picture = ROOT / re.findall(r"curl -s?F file=@(\S+) ", README)[0]
    answer = httpx.post(f"{service}/predict", files={"file": picture.read_bytes()}).json()
    # Another processor may round the fourth digit the other way.
    probabilities = [[entry.pop("probability") for entry in one.pop("probabilities")] for one in (answer, shown)]
    assert probabilities[0] == pytest.approx(probabilities[1], abs=2e-4)
    assert answer["prediction"].pop("probability") == pytest.approx(shown["prediction"].pop("probability"), abs=2e-4)
    assert answer.pop("familiarity") == pytest.approx(shown.pop("familiarity"), abs=2e-3)
    assert answer == shown


def test_the_short_answer_is_part_of_the_whole_one() -> None:
    whole = json.loads(re.findall(r"```json\n(.+?)```", README, re.DOTALL)[0])
    ((fields, short),) = re.findall(r"jq -c '(.+)'\n((?:    .+\n)+)", README)
    assert [json.loads(line) for line in short.splitlines()] == [
        whole[field.removeprefix(".")] for field in fields.split(", ")
    ]


def python_examples() -> list[str]:
    return re.findall(r"```python\n(.+?)```", README + USAGE, re.DOTALL)


def printed(example: str) -> list[str]:
    """Return what an example claims to print: the comments after its calls of `print`."""
    return re.findall(r"^ *print\(.+\)  # (.+)$", example, re.MULTILINE)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("example", python_examples(), ids=["first", "client", "async client", "httpx"])
def test_the_python_examples_print_what_their_comments_say(
    example: str, service: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    exec(example.replace("http://localhost:8000", service), {})  # noqa: S102  the README's own
    assert printed(example)
    assert capsys.readouterr().out.splitlines() == printed(example)


@pytest.mark.usefixtures("quiet")
def test_the_command_prints_the_listing_shown_below_it(
    service: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("FASHION_URL", service)
    ((arguments, listing),) = re.findall(r"\$ \.venv/bin/python -m app\.client (.+)\n((?:    .+\n)+)", USAGE)
    shown = [line.strip().removesuffix("...") for line in listing.splitlines()]
    assert client_command(arguments.split()) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith(start) for line, start in zip(lines, shown, strict=True)] == [True] * len(shown)


def test_the_speed_is_what_was_measured_last() -> None:
    measured = json.loads((ROOT / "benchmarks/serving/measured/results.json").read_text())

    def at_64(system: str, figure: str = "rate") -> float:
        return float(median(one[figure] for one in measured["loads"][system]["64"]))

    shipped, photographs = (f"{median(measured[name]['service']):,.0f}" for name in ("shipped", "photographs"))
    raw = at_64("ours, raw")
    of_fastapi, of_mosec = f"{raw / at_64('FastAPI-direct, raw'):.1f}", f"{raw / at_64('mosec'):.2f}"
    fast, benchmarks = (
        re.sub(r"\s+", " ", text) for text in (README, (ROOT / "benchmarks/README.md").read_text().split("<!--")[0])
    )
    assert f"on two cores, {shipped} 28x28 images or {photographs} photographs a second." in fast
    assert f"answers {of_fastapi} times as many requests as FastAPI" in fast
    assert f"and {of_mosec} times as many as mosec" in fast
    last = {
        system: median(one["rate"] for one in measured["loads"][system]["256"]) for system in ("ours, raw", "mosec")
    }
    assert f"in Rust ({last['ours, raw'] / last['mosec']:.2f} at 256)" in fast
    assert f"(2 - {at_64('ours, raw', 'load_cores'):.2f}) / {raw:,.0f}." in benchmarks


def test_the_answer_on_why_not_everything_is_a_bag_is_measured(service: str, data: Data) -> None:
    large = (Image.fromarray(255 - image).resize((400, 400), Image.Resampling.BICUBIC) for image in data.test.images)
    pictures = [encoded(image, "JPEG") for image in large]
    stated = re.findall(
        r"(\d+) get their label then and none is familiar; with `auto`, (\d+) do", re.sub(r"\s+", " ", USAGE)
    )[0]
    with FashionClient(service) as client:
        conversions: tuple[Conversion, Conversion] = ("none", "auto")
        for conversion, right in zip(conversions, stated, strict=True):
            answers = [one.prediction for one in client.predict_many(pictures, conversion=conversion) if one.prediction]
            found = sum(one.prediction.class_id == int(i) for one, i in zip(answers, data.test.class_ids, strict=True))
            assert found == pytest.approx(int(right), abs=2)
            assert conversion == "auto" or not any(one.familiar for one in answers)


def test_the_answer_on_classes_of_your_own_is_true() -> None:
    class CatOrDog(FirstPixelClassifier):
        def __init__(self) -> None:
            super().__init__()
            self.card = self.card.model_copy(update={"labels": ("cat", "dog")})

        def classify(self, images: NDArray[np.uint8]) -> Answers:
            return Answers(*(part[:, :2] if part.ndim > 1 else part for part in super().classify(images)))

    with TestClient(create_app(Settings(), CatOrDog())) as client:
        answer = client.post("/predict", content=encoded(tagged_image(1))).json()
    assert [one["label"] for one in answer["probabilities"]] == ["cat", "dog"]
    assert answer["prediction"]["label"] == "dog"


def test_the_table_of_settings_lists_every_setting() -> None:
    rows = re.findall(rf"^\| `({PREFIX}\w+)` \| (?:`(.*?)`)? *\| (.+?) \|$", OPERATING, re.MULTILINE)
    assert rows == [
        (PREFIX + name.upper(), "" if field.default is None else str(field.default), field.description)
        for name, field in Settings.model_fields.items()
    ]


def test_the_settings_of_the_image_are_those_documented() -> None:
    (line,) = re.findall(rf"^ENV ({PREFIX}.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    (sentence,) = re.findall(rf"^The image sets((?:,?(?: and)? `{PREFIX}\w+=[^`]+`)+)", OPERATING, re.MULTILINE)
    assert re.findall(r"`(.+?)`", sentence) == line.split()
    assert read_settings(dict(one.split("=") for one in line.split())).log_format == "json"


def test_the_seconds_on_the_page_about_reliability_are_those_of_the_code() -> None:
    page = re.sub(r"\s+", " ", (ROOT / "docs/reliability.md").read_text())
    for told in (
        f"until `Retry-After` has passed, for {'a second' if PAUSE_SECONDS == 1 else PAUSE_SECONDS} at most",
        f"that reads none of its answers for {Protocol.unread_seconds:g} seconds is cut off",
        f"a disconnect only once a request has taken {UNWATCHED_SECONDS:g} seconds",
        f"A process that is not gone {HANG_SECONDS} seconds after its drain",
        f"for which it has {'two' if LOAD_SECONDS == 120 else LOAD_SECONDS / 60} minutes",
        f"whose event loop hangs ends itself after {HANG_SECONDS} seconds",
        f"one with a thread that is stuck after {STUCK_SECONDS + HANG_SECONDS:g},",
        f"after 0, {FIRST_PAUSE_SECONDS:g}, 2, 4 and at most {LONGEST_PAUSE_SECONDS:g} seconds",
        f"A header that is not complete within {Protocol.header_seconds:g} seconds",
        f"is read and thrown away for up to {Protocol.linger_seconds:g} seconds",
    ):
        assert told in page


def test_the_table_of_problems_has_every_error_with_its_status() -> None:
    rows = set(re.findall(r"^\| (\d{3}) \| `(\w+)`", USAGE, re.MULTILINE))
    listed = set(re.findall(r"\w+Error +(\d{3}) (\w+)", errors.__doc__ or ""))
    assert rows == listed


def test_the_figures_of_the_shipped_model_are_those_of_its_card() -> None:
    card = read_verified(ROOT / Settings().model_dir)
    (row,) = re.findall(r"^\| `cnn` \|(.+)\|$", RESULTS, re.MULTILINE)
    cells = [cell.strip() for cell in row.split("|")]
    training = card.training
    assert cells == [
        f"{card.network.parameters:,}",
        f"{card.network.multiply_accumulates / 1e6:.1f} M",
        str(training.epochs),
        f"{training.minutes:.0f}",
        f"{card.metrics['validation'].accuracy:.2%}",
        f"{card.metrics['test'].accuracy:.2%}",
        _interval(card.metrics["test"]),
        str(training.config["seed"]),
    ]
    assert f"**{card.metrics['test'].accuracy:.2%} of the test split**" in README


def test_the_figures_on_photographs_are_those_of_its_card() -> None:
    photos = read_verified(ROOT / Settings().model_dir).photos
    assert photos
    assert photos.accuracy_alone is not None
    low, high = photos.accuracy_interval_95
    assert f"**{photos.accuracy:.1%} of real photographs**" in README
    assert f"{100 * low:.1f} to {100 * high:.1f}%" in README
    assert f"{photos.learnt_from:,} others of the same collection" in RESULTS
    assert f"alone, {round(photos.accuracy_alone * photos.held_out)} are right, {photos.accuracy_alone:.1%}" in RESULTS
    assert f"calibration error is {photos.ece_equal_mass:.3f}, in 15 bins" in RESULTS
    assert photos.one_label
    one_label = f"right for {photos.one_label.n} of the {photos.held_out}, of the other folders as well; "
    one_label += f"{photos.one_label.right} of these get it, {photos.one_label.right / photos.one_label.n:.1%}"
    assert one_label in RESULTS
    assert f"would show {photos.ece_by_chance:.3f} by chance" in RESULTS
    assert f"a label that fits is {photos.negative_log_likelihood:.3f}" in RESULTS
    assert f"temperature of {photos.temperature:.2f}, which keeps the order of the labels" in HOW_IT_WORKS
    rows = re.findall(r"^\| ([a-z-]+) \| (\d+) \| (\d+) \| ([\d.]+%) \|$", RESULTS, re.MULTILINE)
    assert rows == [
        (folder, str(one.n), str(one.right), f"{one.right / one.n:.1%}") for folder, one in photos.folders.items()
    ]


def test_the_figures_on_trust_are_those_of_its_card() -> None:
    card = read_verified(ROOT / Settings().model_dir)
    rows = re.findall(
        r"^\| [a-z ,]+ \| ([\d,]+) \| ([01]\.\d{4}) \| (0\.\d{4}) \| ([\d.]+%) \|$", RESULTS, re.MULTILINE
    )
    known = {
        (f"{one.n:,}", f"{one.auroc:.4f}", f"{one.auroc_max_softmax:.4f}", f"{one.flagged:.1%}")
        for one in card.familiarity.separations
    }
    assert len(rows) == 7
    assert set(rows) <= known
    flagged = {one.images: f"{one.flagged:.1%}" for one in card.familiarity.separations}
    stated = re.findall(
        r"all 23 pictures .+?\s+([\d.]+%) of handwritten digits and for ([\d.]+%) of photographs", README, re.DOTALL
    )
    assert stated == [(flagged["handwritten digits"], flagged["photographs of hats, shorts and skirts"])]
    false = {name: f"{share:.1%}" for name, share in card.familiarity.flagged.items()}
    assert f"It is also false, wrongly, for {false['photographs']} of the photographs of clothes" in README
    assert f"also false for {false['test']} of the test images and {false['photographs']} of the photographs" in README
    assert f"is false for {false['test']} of the test images, for {false['photographs']} of the photographs" in RESULTS
    usual, largest = (one for one in card.prediction_sets if one.coverage in {0.95, 0.99})
    held = f"({usual.test_coverage:.2%} of the test split, {usual.photos_coverage:.1%} of the\n  photographs"
    assert held in README
    told = re.sub(r"\s+", " ", README)
    assert f"it has {largest.test_mean_size:.2f} labels on average, {largest.photos_mean_size:.2f} on" in told
    assert f"holds the right one for {largest.photos_coverage:.1%} of these" in told
    test = card.metrics["test"]
    assert f"{test.ece_equal_mass:.4f} in 15 bins of equal mass, {test.ece_equal_width:.4f} in bins" in RESULTS


def _interval(split: SplitMetrics) -> str:
    low, high = split.accuracy_interval_95
    return f"{low:.2%} to {high:.2%}"


FOLDERS = ROOT, ROOT / "docs", ROOT / "training", ROOT / "benchmarks"
PAGES = [str(page.relative_to(ROOT)) for folder in FOLDERS for page in sorted(folder.glob("*.md"))]


@pytest.mark.parametrize("path", PAGES)
def test_every_file_that_a_page_refers_to_exists(path: str) -> None:
    text = (ROOT / path).read_text()
    folder = (ROOT / path).parent
    links = {folder / link for link in re.findall(r"\]\(([^)#]+?)\)", text) if "://" not in link}
    modules = {
        ROOT / name
        for name in re.findall(r"`((?:app|training|tests|models|docs|requirements|deploy)/[\w./-]+\w)`", text)
    }
    made = {ROOT / "models/fashion-mnist-mlp/1"}
    assert [path for path in links | modules - made if not path.exists()] == []


def slugs(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub derives them from the text."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES)
def test_every_heading_that_a_page_links_to_exists(path: str) -> None:
    page = ROOT / path
    links = re.findall(r"\]\((?!\w+://)([^)#]*)#([^)]+)\)", page.read_text())
    assert [(file, slug) for file, slug in links if slug not in slugs(page.parent / file if file else page)] == []


def test_contributing_stays_short() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) < 60
