from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from benchmarks.serving import figures, report
from benchmarks.serving.__main__ import FIGURES, PAGE
from benchmarks.serving.results import Comparison
from benchmarks.serving.systems import SERVERS
from benchmarks.serving.targets import targets

if TYPE_CHECKING:
    from benchmarks.serving.results import Results


def test_every_system_is_in_the_table_of_each_number_of_connections(results: Results) -> None:
    text = report.markdown(results, SERVERS, targets(results))
    for server in SERVERS:
        for system in server.systems:
            row = f"| {system.name} | 100 (90 to 110) | 10.00 (10.00 to 10.00) | 20.0 (20.0 to 20.0) | 0 | 0.25 |"
            assert text.count(row) == 4
    assert "| mosec | mosec 1.2.3 | 2 | 1,024 (1,024 to 1,024) |" in text
    assert "| raw at 64, of FastAPI-direct's rate | at least 3.5 | 1.000 | missed |" in text
    assert "| 400x533 photographs, 8 connections; decoding and conversion |" in text
    assert text.startswith("Date: 2026-11-24.")


def test_a_server_that_was_left_out_is_listed_with_the_reason(results: Results) -> None:
    results.refused["mosec"] = "not installed"
    del results.loads["mosec"]  # but not its memory in earlier rounds
    text = report.markdown(results, SERVERS, targets(results))
    assert "| mosec | mosec 1.2.3 | 2 | left out: not installed |" in text
    assert "| raw at 64 connections, of mosec's rate | at least 0.9 | not measured |  |" in text


def test_the_page_has_the_markers_and_keeps_the_text_around_them(tmp_path: Path) -> None:
    page = Path(shutil.copy(PAGE, tmp_path))
    before = page.read_text().partition(report.BEGIN)[0]
    for text in ("first", "second"):
        report.write(page, text)
    assert page.read_text().startswith(before)
    assert "second" in page.read_text()
    assert "first\n" not in page.read_text().removeprefix(before)


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(report.BEGIN)
    with pytest.raises(ValueError, match="expected the lines <!-- measured: begin --> and"):
        report.write(page, "text")


def test_the_figures_are_drawn(results: Results, tmp_path: Path) -> None:
    connections, sizes = (tmp_path / name for name in FIGURES)
    figures.draw_connections(results, connections)
    results.sizes[640_000] = Comparison([40.0], [])  # whose load failed
    figures.draw_sizes(results, 2, sizes)
    for path in (connections, sizes):
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert len(set(picture.convert("L").tobytes())) > 10
