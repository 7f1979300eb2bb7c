from __future__ import annotations

from typing import TYPE_CHECKING

from training.markdown import lines, table

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_a_table_is_markdown_with_right_aligned_numbers() -> None:
    assert table(("a", "b"), [("c", 1)]) == "| a | b |\n| --- | ---: |\n| c | 1 |"
    assert table(("a", "b"), [(1, 2), (3, 4)], left=0) == "| a | b |\n| ---: | ---: |\n| 1 | 2 |\n| 3 | 4 |"
    assert table(("a", "b"), [], left=2) == "| a | b |\n| --- | --- |"


def test_each_row_is_written_before_the_next_is_made() -> None:
    made: list[int] = []

    def rows() -> Iterator[tuple[int]]:
        for number in range(3):
            made.append(number)
            yield (number,)

    written = lines(("a",), rows())
    assert [next(written) for _ in range(3)] == ["| a |", "| --- |", "| 0 |"]
    assert made == [0]
