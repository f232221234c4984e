"""What `make soak-elastic` holds a run against: a check that passes everything would find nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

from benchmarks.soak_elastic import count_redone, find_wrong_steps, parse_nodes

WANTED = {0: Counter(range(8))}


def row(attempt: int, step: int, *samples: int) -> dict[str, Any]:
    return {"attempt": attempt, "epoch": 0, "step": step, "samples": list(samples)}


WHOLE = [row(1, 0, 0, 1), row(1, 0, 2, 3), row(1, 1, 4), row(2, 1, 4, 5), row(2, 1, 6, 7)]


def test_a_step_that_was_done_again_counts_once() -> None:
    assert find_wrong_steps(WHOLE, samples_of=WANTED) == []
    assert count_redone(WHOLE) == {1: 0, 2: 1}


def test_a_sample_that_is_missing_or_there_twice_is_found() -> None:
    assert "missing [7]" in find_wrong_steps([*WHOLE[:-1], row(2, 1, 6)], samples_of=WANTED)[0]
    assert "more than once [7]" in find_wrong_steps([*WHOLE, row(2, 1, 7)], samples_of=WANTED)[0]
    assert find_wrong_steps(WHOLE[:2], samples_of=WANTED)


def test_steps_that_were_left_out_are_not_taken_for_done_again() -> None:
    assert count_redone([row(1, 0), row(2, 1), row(3, 0)]) == {1: 0, 2: 0, 3: 2}


def test_nodes_are_read_as_they_are_written() -> None:
    assert parse_nodes("0-2,5") == {0, 1, 2, 5}
    assert parse_nodes("0") == {0}
