from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

import pytest

from app.commands.arguments import add_arguments, find_pictures

if TYPE_CHECKING:
    from pathlib import Path

PARSER = argparse.ArgumentParser(prog="command")


def test_files_are_kept_as_named_whatever_they_are() -> None:
    assert find_pictures(["boot.txt", "-", "./gone.png"], PARSER) == ["boot.txt", "-", "./gone.png"]


def test_a_folder_yields_its_pictures_and_those_of_its_subfolders_in_order_without_hidden_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b/2.jpg", "b/1.JPEG", "a/photo.heic", "c.webp", "c.txt", "jpg", ".hidden.png", ".hidden/1.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    monkeypatch.chdir(tmp_path)
    assert find_pictures(["./photos"], PARSER) == [
        os.path.join("./photos", name)  # noqa: PTH118  a Path forgets the ./
        for name in ("c.webp", "a/photo.heic", "b/1.JPEG", "b/2.jpg")
    ]


def test_a_name_that_is_too_long_is_a_file_like_any_other() -> None:
    assert find_pictures(["a" * 300], PARSER) == ["a" * 300]


def test_an_address_is_refused_with_advice(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        find_pictures(["boot.png", "https://example.com/coat.jpg"], PARSER)
    assert "found an address: download https://example.com/coat.jpg first" in capsys.readouterr().err


def test_a_folder_that_cannot_be_read_is_listed_in_place_of_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boot.png").touch()
    monkeypatch.chdir(tmp_path)
    for _ in range(17):  # so deep that the whole path is too long; a mode of 000 would not stop root
        os.mkdir("a" * 250)  # noqa: PTH102  by a short name
        monkeypatch.chdir("a" * 250)
    picture, folder = find_pictures([str(tmp_path)], PARSER)
    assert picture == str(tmp_path / "boot.png")
    with pytest.raises(OSError, match="too long"):
        open(folder)  # noqa: PTH123, SIM115  it does not open


def test_by_default_the_conversion_is_automatic_and_the_format_is_a_table() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert vars(parser.parse_args(["a", "b"])) == {"pictures": ["a", "b"], "conversion": "auto", "format": "table"}
    assert parser.parse_args(["a", "--json"]).format == "json"
