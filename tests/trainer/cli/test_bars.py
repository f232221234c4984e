from __future__ import annotations

import io
import os
import re
import shutil

import pytest

from trainer.cli import bars
from trainer.cli.bars import TerminalBar, can_draw, progress
from trainer.cli.main import main
from trainer.progress import NO_PROGRESS

ERASE = "\r\x1b[K"


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def line(self):
        """What stands on the line that is rewritten."""
        return self.getvalue().rpartition(ERASE)[2]


@pytest.fixture
def clock():
    now = [100.0]

    def read():
        return now[0]

    read.add = lambda seconds: now.__setitem__(0, now[0] + seconds)
    return read


@pytest.fixture
def columns(monkeypatch):
    def set_columns(count):
        monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **_more: os.terminal_size((count, 24)))

    set_columns(80)
    return set_columns


@pytest.mark.parametrize(("width", "longest"), [(20, 19), (80, 79), (100, 99), (200, 99)])
def test_a_bar_fits_the_terminal_and_a_hundred_columns(clock, columns, width, longest):
    columns(width)
    terminal = Terminal()
    bar = TerminalBar(terminal, clock=clock)
    bar.begin("epoch 12/300", 12345)
    clock.add(100)
    bar.advance(1234)
    assert len(terminal.line()) <= longest
    assert "epoch 12/300" in terminal.line()
    if width >= 80:
        assert len(terminal.line()) == longest
        assert terminal.line().endswith(" 1234/12345, 0:15:00 left")
        cells = re.search(r"\[(#+)(-+)\]", terminal.line())
        assert len(cells[1]) / (len(cells[1]) + len(cells[2])) == pytest.approx(0.1, abs=0.03)


def test_a_short_task_has_no_bar_and_a_long_one_leaves_none_behind(clock, columns):
    terminal = Terminal()
    bar = TerminalBar(terminal, clock=clock)
    bar.begin("images", 3)
    clock.add(0.1)
    bar.advance()
    assert terminal.getvalue() == ""
    clock.add(1)
    bar.advance()
    assert "2/3" in terminal.line()
    bar.advance()
    assert terminal.line() == ""


def test_a_bar_is_drawn_ten_times_a_second_at_most(clock, columns):
    terminal = Terminal()
    bar = TerminalBar(terminal, clock=clock)
    bar.begin("images", 100_000)
    for _ in range(2000):
        clock.add(0.001)
        bar.advance()
    assert 15 <= terminal.getvalue().count(ERASE) <= 20


def test_it_steps_aside_for_a_line(clock, columns):
    terminal = Terminal()
    bar = TerminalBar(terminal, clock=clock)
    bar.begin("images", 100)
    clock.add(1)
    bar.advance()
    bar.clear()
    assert terminal.line() == ""
    bar.clear()
    assert terminal.getvalue().count(ERASE) == 2


@pytest.mark.parametrize(
    ("is_terminal", "term", "wanted", "shown"),
    [
        (True, "xterm", True, True), (False, "xterm", True, False), (True, "dumb", True, False),
        (True, "xterm", False, False),
    ],
    ids=["a terminal", "a pipe", "a dumb terminal", "another rank"],
)  # fmt: skip
def test_only_a_terminal_has_bars(monkeypatch, is_terminal, term, wanted, shown):
    stream = Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", term)
    assert can_draw(stream) == (is_terminal and term == "xterm")
    with progress(wanted=wanted) as bar:
        assert (bar is not NO_PROGRESS) == shown


@pytest.fixture
def trainer(monkeypatch, capsys):
    def run(*argv, terminal=None):
        monkeypatch.setattr("sys.argv", ["trainer", *map(str, argv)])
        with monkeypatch.context() as patch:
            if terminal is not None:
                patch.setattr("sys.stderr", terminal)
                patch.setenv("TERM", "xterm")
                patch.setattr(bars, "_SHOWN_AFTER_S", 0.0)
                patch.setattr(bars, "_PAUSE_S", 0.0)
            with pytest.raises(SystemExit) as ended:
                main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_commands_that_take_long_show_bars_on_a_terminal_and_plain_lines_elsewhere(
    workshop, trainer, monkeypatch
):
    monkeypatch.chdir(workshop.folder)
    workshop.config(Global__epochs=2)
    expected = {
        ("train", "-c", "cfg.yaml"): ["epoch 1/2 [", "epoch 2/2 [", "evaluating ["],
        ("eval", "-c", "cfg.yaml"): ["evaluating ["],
        ("export", "-c", "cfg.yaml", "--to", "exported"): ["comparing ["],
        ("check", "-c", "cfg.yaml"): ["reading images ["],
        ("predict", "-c", "cfg.yaml", "val0.png", "val1.png"): ["images ["],
    }
    for argv, shown in expected.items():
        terminal = Terminal()
        again = ("--overwrite", "--resume", "never") if argv[0] == "train" else ()
        code, out, _ = trainer(*argv, terminal=terminal)
        assert code == 0, terminal.getvalue()
        for text in shown:
            assert text in terminal.getvalue(), argv
        assert "\r" not in out
        # What follows a bar follows its erasing: no line of the log stands behind half a bar.
        for part in terminal.getvalue().split("\n"):
            assert "] trainer INFO" not in part.rpartition(ERASE)[0]
        code, out, err = trainer(*argv, *again)
        assert (code, ERASE in out + err, "[#" in out + err) == (0, False, False), argv
