"""Sentences are broken at words, and advice where no command is torn apart."""

from __future__ import annotations

from launcher.cli.table import LINE_COLUMNS, break_advice, wrap


def test_a_sentence_is_broken_at_words_and_set_in():
    first, second = wrap("word " * 30, start="  because: ")
    assert first.startswith("  because: word")
    assert second.startswith("    word")
    assert max(len(first), len(second)) <= LINE_COLUMNS
    assert f"{first} {second.strip()}".split()[1:] == ["word"] * 30


def test_a_long_word_stays_whole():
    path = "/" + "x" * 200
    assert f"  {path}" in wrap(f"see {path} for more")


def test_advice_is_broken_behind_semicolons_only():
    commands = [f"kubectl -n {'n' * 40} delete pod {name} --force" for name in ("one", "two")]
    assert break_advice("; ".join(commands), start="  fix: ") == [
        f"  fix: {commands[0]};", f"       {commands[1]}",
    ]  # fmt: skip
    assert break_advice("wait; or ask", start="  fix: ") == ["  fix: wait; or ask"]
