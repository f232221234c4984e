from __future__ import annotations

import json

import pytest

from launcher.logs.lines import LogLine
from launcher.logs.log_format import LogFormat, format_line
from trainer.protocol.tags import Tag

RANK_3 = Tag(attempt=2, rank=3)


def show(text: bytes, form: LogFormat | None = None, *, tag: Tag | None = RANK_3) -> str:
    return format_line(LogLine(instant_ns=1_500_000_000, node=1, tag=tag, text=text), form or LogFormat())


def test_ranks_and_nodes_are_named():
    assert show(b"x") == "[rank 3] x"
    assert show(b"x", tag=Tag(attempt=2, node=1)) == "[node 1] x"
    assert show(b"x", tag=None) == "[node 1] x"
    assert show(b"x", LogFormat(prefix=False)) == "x"


def test_times_come_first():
    assert show(b"x", LogFormat(timestamps=True)) == "1970-01-01T00:00:01.500Z [rank 3] x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"10%\r50%\r100%", "100%"),
        (b"windows\r", "windows"),
        (b"a\tb", "a\tb"),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07end\x07", "red end"),
        (b"\xff\xfe", "��"),
        ("Größe".encode(), "Größe"),
        (b"\x1b[2J\x1b[Hgone", "gone"),
    ],
)
def test_a_program_reads_plain_text(text, shown):
    assert show(text, LogFormat(prefix=False)) == shown


def test_a_terminal_gets_colours_and_nothing_that_moves_the_cursor_or_sets_a_title():
    shown = show(b"\x1b[31mred \x1b[2J\x1b]0;title\x07\x1b[5A", LogFormat(prefix=False, colour=True))
    assert shown == "\x1b[31mred \x1b[0m"
    assert show(b"plain", LogFormat(prefix=False, colour=True)) == "plain"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"\x1b[8mhidden\x1b[0m", "hidden\x1b[0m\x1b[0m"),
        (b"\x1b[1;38;5;8mgrey\x1b[0m", "\x1b[1;38;5;8mgrey\x1b[0m\x1b[0m"),
        (b"\x1b[31;8mhidden", "hidden"),
        ("abc\u202etxt".encode(), "abc\\u202etxt"),
    ],
    ids=["concealed", "a colour of 256", "concealed among colours", "turned round"],
)
def test_no_text_is_concealed_or_turned_round(text, shown):
    assert show(text, LogFormat(colour=True, prefix=False)) == shown


def test_the_colour_of_a_rank_is_always_the_same():
    form = LogFormat(colour=True)
    assert show(b"", form).split(" ")[0] == show(b"other", form).split(" ")[0]
    assert show(b"", form) != show(b"", form, tag=Tag(attempt=2, rank=4)).replace("4", "3")


def test_json_holds_who_and_when():
    document = json.loads(show("ü\x1b[1m".encode(), LogFormat(output="json")))
    assert document == {
        "time": "1970-01-01T00:00:01.500Z", "node": 1, "rank": 3, "attempt": 2, "text": "ü",
    }  # fmt: skip
    assert json.loads(show(b"x", LogFormat(output="json"), tag=None))["rank"] is None
