"""Errors of the trainer carry their parts."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from trainer.protocol.errors import TrainerError, sentence


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"where": "a", "expected": "b", "got": "c", "fix": "do d"}, "a: expected b, got c; do d"),
        ({"where": "a", "expected": "b", "got": "c"}, "a: expected b, got c"),
        ({"expected": "b", "got": "c"}, "expected b, got c"),
        ({"where": "a", "got": "c", "fix": "do d"}, "a: got c; do d"),
        ({"where": "a", "fix": "do d"}, "a: do d"),
        ({}, ""),
    ],
)
def test_a_sentence_leaves_out_the_parts_that_are_empty(parts: dict[str, str], text: str) -> None:
    assert sentence(**parts) == text


def test_an_error_keeps_its_parts_and_says_them() -> None:
    error = TrainerError(where=Path("a/b.txt"), expected="a file", got="a folder", fix="name a file")
    assert (error.where, error.expected, error.got, error.fix) == (
        "a/b.txt", "a file", "a folder", "name a file",
    )  # fmt: skip
    assert str(error) == "a/b.txt: expected a file, got a folder; name a file"


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_copy_of_an_error_is_the_same_error(again: object) -> None:
    assert callable(again)
    copied = again(TrainerError(where="a", expected="b", got="c"))
    assert (str(copied), copied.where, copied.expected) == ("a: expected b, got c", "a", "b")
