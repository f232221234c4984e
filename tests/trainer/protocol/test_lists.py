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


_WORD = st.text(alphabet='ab/.é 0\t+-"\r\x0b\x85\u2028', max_size=8)


@same_folder
@given(
    lines=st.lists(st.tuples(_WORD, st.sampled_from([" ", "  ", "\t", ""]), _WORD), max_size=6),
    sure=st.integers(0, 6),
    end=st.sampled_from(["\n", "\r\n", "\n\n", ""]),
)
def test_a_list_is_read_the_same_in_bulk_and_line_by_line(
    lines: list[tuple[str, str, str]], sure: int, end: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = "\n".join([*(f"a/{index}.jpg {index}" for index in range(sure)), *map("".join, lines)]) + end
    file = tmp_path_factory.getbasetemp() / "bulk.txt"
    file.write_bytes(text.encode())

    def read() -> object:
        try:
            found = read_list(str(file), Grammar(), class_num=4)
        except ListError as error:
            return str(error)
        return found.names, found.labels, found.problems, found.notes

    in_bulk = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.protocol.lists._read_plain", lambda *_: None)
        assert read() == in_bulk


def test_a_list_of_plain_lines_takes_no_step_of_python_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a line was looked at by itself")

    (tmp_path / "list.txt").write_text("".join(f"a/{index}.jpg {index % 3}\r\n" for index in range(50)))
    monkeypatch.setattr("trainer.protocol.lists._split", refuse)
    found = read_list(str(tmp_path / "list.txt"), Grammar(), class_num=3)
    assert (found.names[49], found.labels[49], found.problems) == ("a/49.jpg", 1, {})
