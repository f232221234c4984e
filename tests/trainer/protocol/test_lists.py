"""The reader of list files against what may stand in a file."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.protocol.lists import (
    Grammar,
    Labels,
    ListError,
    describe_grammar,
    find_unlistable,
    format_line,
    guess_grammar,
    read_list,
)

PIECES = st.text(st.sampled_from("a1 .,;\t/-0é\x00\r'\""), max_size=12)
GRAMMARS = [
    Grammar(), Grammar(delimiter=" "), Grammar(delimiter="\t"), Grammar(delimiter=",", relabel=True),
    Grammar(labels=Labels.FLAGS), Grammar(labels=Labels.NONE), Grammar(labels=Labels.NONE, delimiter=";"),
]  # fmt: skip
same_folder = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@same_folder
@given(
    content=st.binary(max_size=60) | st.lists(PIECES, max_size=5).map(lambda lines: "\n".join(lines).encode())
)
def test_whatever_stands_in_a_file_each_line_is_read_or_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    for grammar in GRAMMARS:
        with contextlib.suppress(ListError):
            listed = read_list(str(path), grammar, image_root=str(tmp_path))
            lines = content.decode("utf-8-sig").rstrip().split("\n")
            assert len(listed.names) == len(listed.labels) == len(lines)
            assert set(listed.problems) == set(range(1, len(lines) + 1))  # no such image is here
            assert all(sentence.startswith(f"{path}:") for sentence in listed.refusals())
    with contextlib.suppress(ListError):
        assert isinstance(describe_grammar(guess_grammar(str(path))), str)


@same_folder
@given(name=PIECES.filter(bool) | st.text(min_size=1, max_size=8))
def test_a_name_that_a_list_can_hold_is_read_back(name: str, tmp_path: Path) -> None:
    if find_unlistable(name):
        return
    path = tmp_path / "list.txt"
    path.write_text(f"{format_line(name, 7)}\n", encoding="utf-8", newline="")
    listed = read_list(str(path), Grammar())
    assert (listed.names, listed.labels, listed.problems) == ([name], [7], {})


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a\nb", "a line break"), (" a", "white space at its beginning or end"),
     ("\udcff", "bytes that are not UTF-8"), ("a.v1 2 b", "what reads as a path, a label and more")],
)  # fmt: skip
def test_a_name_that_no_list_can_hold_is_told_by_its_reason(name: str, reason: str) -> None:
    assert find_unlistable(name) == reason
