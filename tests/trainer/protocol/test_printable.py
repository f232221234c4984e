"""Whatever steers a terminal is shown instead, and colours are ours alone."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.protocol import printable
from trainer.protocol.printable import escape_controls, paint, show


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\rb", "a\\x0db"),
        ("\x9b2J", "\\x9b2J"),
        ("abc\u202etxt", "abc\\u202etxt"),
        ("a\u2028b", "a\\u2028b"),
        ("name\udcff", "name\\udcff"),
        ("Größe 花 🌸 a\u200db", "Größe 花 🌸 a\u200db"),
    ],
    ids=[
        "escape",
        "carriage return",
        "C1",
        "right to left",
        "line separator",
        "no UTF-8",
        "words of any script",
    ],
)
def test_what_steers_a_terminal_is_shown(text, shown):
    assert escape_controls(text) == shown


def test_a_line_stays_a_line():
    assert printable.printable("a\nwarning: forged\tx") == "a\\nwarning: forged\\tx"
    assert escape_controls("a\n\tb") == "a\n\tb"


def test_colours_are_shown_where_there_are_any_and_leave_nothing_behind_elsewhere():
    text = f"job {paint('Failed', 'bad')}"
    assert show(text, colour=True) == "job \x1b[31mFailed\x1b[0m"
    assert show(text, colour=False) == "job Failed"


def test_a_stranger_cannot_colour():
    stranger = "\x1b[32mSucceeded\x1b[0m \x00ffffffffffffffff32\x00Succeeded"
    assert "\x1b" not in show(stranger, colour=True)
    assert show(paint("\x1b[32mx", "bad"), colour=True) == "\x1b[31m\\x1b[32mx\x1b[0m"


@given(st.text(), st.booleans())
def test_no_control_passes(text, colour):
    shown = show(text, colour=colour)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\n\t"]
    assert not [
        c
        for c in shown
        if unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    ]
