from __future__ import annotations

import csv
import io
import json

import pytest

from app.commands.tabulate import CSV_COLUMNS, MANY, WIDEST_NAME, Listing
from app.errors import InvalidImageError
from app.outcomes import Outcome
from app.schemas import ClassProbability, ConversionFacts, ImageFacts, ModelName, Prediction, problem_of

BOOT = Prediction(
    prediction=ClassProbability(class_id=9, label="Ankle boot", probability=0.75),
    probabilities=(),
    prediction_set=("Ankle boot", "T-shirt/top"),
    familiar=True,
    familiarity=0.5,
    image=ImageFacts(format="PNG", width=28, height=28),
    conversion=ConversionFacts(mode="native", steps=()),
    model=ModelName(name="fake", version="7"),
)
DAMAGED = InvalidImageError("Damaged; send it again.")
STRANGE = BOOT.model_copy(update={"familiar": False})
OUTCOMES: dict[str, Outcome[None]] = {
    "a boot.png": Outcome(None, BOOT),
    "strange.png": Outcome(None, STRANGE),
    'bad, "very".png': Outcome(None, error=DAMAGED),
    "gone.png": Outcome(None, error=FileNotFoundError(2, "No such file or directory")),
}


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def listed(kind: str) -> str:
    out = io.StringIO()
    with Listing(kind, list(OUTCOMES), out, io.StringIO()) as listing:
        for name, outcome in OUTCOMES.items():
            listing.add(name, outcome)
    assert (listing.answered, listing.refused) == (2, 2)
    return out.getvalue()


def test_a_table_says_what_a_person_wants_to_know() -> None:
    assert listed("table").splitlines() == [
        "PICTURE          LABEL        PROBABILITY  FAMILIAR  PREDICTION SET",
        "a boot.png       Ankle boot         75.0%  yes       Ankle boot, T-shirt/top",
        "strange.png      Ankle boot         75.0%  no        Ankle boot, T-shirt/top",
        'bad, "very".png  invalid_image: Damaged; send it again.',
        "gone.png         unreadable: No such file or directory",
    ]


@pytest.mark.parametrize("name", ["a.png", "clothes/" * 10 + "left.png"], ids=["short", "long"])
def test_a_row_of_a_table_is_aligned_with_its_header_however_long_the_name_is(name: str) -> None:
    out = io.StringIO()
    with Listing("table", [name], out, io.StringIO()) as listing:
        listing.add(name, OUTCOMES["a boot.png"])
    head, row = out.getvalue().splitlines()
    assert head.index("LABEL") == row.index("Ankle boot") <= WIDEST_NAME + 2
    assert row.startswith(name[:5])
    assert row.split("  ")[0].endswith(name[-5:])


def test_control_characters_in_the_name_of_a_file_do_not_reach_the_terminal() -> None:
    out, name = io.StringIO(), "\x1b[2J\rb\u00f6t \u202e\udcf6.png"
    with Listing("table", [name], out, io.StringIO()) as listing:
        listing.add(name, OUTCOMES["a boot.png"])
        listing.add(name, OUTCOMES["gone.png"])
    shown = r"\x1b[2J\rb\u00f6t \u202e\udcf6.png".replace(r"\u00f6", "\u00f6")
    head, *rows = out.getvalue().splitlines()
    assert [row.split("  ")[0] for row in rows] == [shown, shown]
    assert head.index("LABEL") == rows[0].index("Ankle boot")


@pytest.mark.parametrize("name", ["\x1b[2J\n.png", "a\rb.png"])
def test_csv_keeps_the_name_as_it_is(name: str) -> None:
    out = io.StringIO(newline="")
    with Listing("csv", [name], out, io.StringIO()) as listing:
        listing.add(name, OUTCOMES["a boot.png"])
    out.seek(0)
    assert [row["filename"] for row in csv.DictReader(out)] == [name]


def test_json_is_one_object_per_line_with_all_that_a_batch_would_say() -> None:
    first, _, third, fourth = map(json.loads, listed("json").splitlines())
    assert first == {"filename": "a boot.png", "result": BOOT.model_dump(mode="json", exclude_none=True)}
    assert third == {"filename": 'bad, "very".png', "problem": problem_of(DAMAGED).model_dump()}
    assert fourth == {
        "filename": "gone.png",
        "problem": {
            "type": "urn:problem:fashion-mnist:unreadable",
            "title": "The file cannot be read",
            "detail": "No such file or directory",
            "code": "unreadable",
        },
    }


def test_csv_can_be_read_back() -> None:
    first, second, third, _ = csv.DictReader(io.StringIO(listed("csv")))
    assert tuple(first) == CSV_COLUMNS
    assert first["filename"] == "a boot.png"
    assert (first["label"], first["probability"], first["prediction_set"]) == (
        "Ankle boot",
        "0.75",
        "Ankle boot|T-shirt/top",
    )
    assert (first["familiar"], second["familiar"], first["familiarity"], first["error"]) == ("true", "false", "0.5", "")
    assert (third["filename"], third["label"]) == ('bad, "very".png', "")
    assert third["error"] == "invalid_image: Damaged; send it again."


@pytest.mark.parametrize("kind", ["table", "json", "csv"])
def test_nothing_is_written_if_there_is_no_outcome(kind: str) -> None:
    out, progress = io.StringIO(), Terminal()
    with Listing(kind, ["boot.png"], out, progress):
        pass
    assert out.getvalue() == progress.getvalue() == ""


def progress_of(count: int, out: io.StringIO, progress: io.StringIO) -> list[str]:
    """Return the lines of progress, each of which overwrites the last."""
    with Listing("csv", ["boot.png"] * count, out, progress) as listing:
        for number in range(count):
            listing.add("boot.png", OUTCOMES["gone.png" if number == 0 else "a boot.png"])
    return progress.getvalue().replace("\x1b[K", "").split("\r")[1:]


def test_many_pictures_show_progress_with_the_rate_on_a_terminal() -> None:
    lines = progress_of(MANY, io.StringIO(), Terminal())
    assert lines[-1].startswith(f"{MANY} of {MANY} pictures, ")
    assert lines[-1].endswith(" a second, 1 without an answer\n")


def test_there_is_no_progress_for_few_pictures_or_in_a_file() -> None:
    assert progress_of(MANY - 1, io.StringIO(), Terminal()) == []
    assert progress_of(MANY, io.StringIO(), io.StringIO()) == []


def test_if_rows_go_to_the_terminal_too_there_is_only_the_last_line_of_progress() -> None:
    assert len(progress_of(MANY, Terminal(), Terminal())) == 1
