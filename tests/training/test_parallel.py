from __future__ import annotations

from training.parallel import PIECE, on_all_cores


def test_the_results_of_many_items_come_in_their_order() -> None:
    numbers = range(-PIECE - 1, 0)
    assert on_all_cores(abs, numbers, "numbers") == [*map(abs, numbers)]


def test_a_few_items_need_no_other_process() -> None:
    here: list[int] = []
    assert on_all_cores(here.append, range(PIECE), "numbers") == [None] * PIECE
    assert here == [*range(PIECE)]
