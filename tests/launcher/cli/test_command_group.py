from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys

import click
import pytest

from launcher.cli.main import COMMANDS, SYNONYMS, group
from launcher.cli.signals import ended_like_ctrl_c
from launcher.errors import CliExit, LaunchError, NotFoundError, UnreachableError, UsageError
from trainer.config.problems import ConfigError, Problem

VERSION = importlib.import_module(COMMANDS["version"].module)


def python(code: str, **given) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=60, **given)


HEAVY = ("pydantic", "kubernetes", "jinja2", "yaml", "rich", "paddle", "numpy", "cv2")
LIGHT = [
    ["--help"],
    ["--version"],
    ["version"],
    ["list"],
    ["list", "--output", "json"],
    ["status"],
    *(["completion", shell] for shell in ("bash", "zsh", "fish")),
    *([name, "--help"] for name in COMMANDS),
]


def test_help_versions_completion_and_looking_at_nothing_import_nothing_heavy(tmp_path):
    code = f"""
import sys
from launcher.cli.main import run
for arguments in {LIGHT!r}:
    code = run(arguments)
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    expected = 4 if arguments == ["status"] else 0
    if heavy or code != expected:
        sys.exit(f"{{arguments}}: exit {{code}}, imported {{heavy}}")
"""
    done = python(code, env={**os.environ, "FTLAUNCH_STATE": str(tmp_path)}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


def test_completion_imports_nothing_heavy():
    code = f"""
import atexit, sys
def look():
    print([name for name in {HEAVY!r} if name in sys.modules])
atexit.register(look)
from launcher.cli.main import main
main()
"""
    asked = {"_FTLAUNCH_COMPLETE": "bash_complete", "COMP_WORDS": "ftlaunch re", "COMP_CWORD": "1"}
    done = python(code, env={**os.environ, **asked})
    assert done.returncode == 0, done.stderr
    first, *_, imported = done.stdout.splitlines()
    assert (first, imported) == ("plain,render", "[]")


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "with a thread to wait for"])
def test_what_is_registered_for_the_exit_runs_and_the_code_is_the_command_s(waits):
    code = f"""
import atexit, sys, threading
atexit.register(print, "tidied up")
sys.argv = ["ftlaunch", "nonsense"]
if {waits}:
    threading.Timer(0.2, lambda: print("waited for")).start()
from launcher.cli.main import main
main()
"""
    done = python(code)
    assert (done.returncode, done.stdout) == (2, "waited for\ntidied up\n" if waits else "tidied up\n")
    assert "expected one of" in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_under_its_name(name):
    command = importlib.import_module(COMMANDS[name].module).command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert COMMANDS[name].summary.endswith(".")


def test_a_wrong_command_is_answered_with_the_nearest(ftlaunch):
    ran = ftlaunch("rendr", "cfg.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert "got 'rendr'; did you mean 'render'?" in ran.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LaunchError("a: expected b"), 1), (UsageError("a: expected b"), 2),
        (UnreachableError("a: expected b"), 3), (NotFoundError("a: expected b"), 4),
        (ConfigError([Problem(file="a", message="expected b")]), 2),
        (KeyboardInterrupt(), 130), (click.Abort(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)  # fmt: skip
def test_errors_become_lines_and_exit_codes(ftlaunch, monkeypatch, error, code):
    def fail() -> None:
        raise error

    monkeypatch.setattr(VERSION, "command", click.Command("version", callback=fail))
    ran = ftlaunch("version")
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.strip() == ("a: expected b" if code < 100 else "")


def test_a_commands_return_value_is_its_exit_code(ftlaunch, monkeypatch):
    command = click.Command("version", callback=lambda: CliExit.TIMEOUT)
    monkeypatch.setattr(VERSION, "command", command)
    assert ftlaunch("version").code == 124


def test_a_bug_is_one_sentence_unless_asked_for_more(ftlaunch, monkeypatch):
    def fail() -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(VERSION, "command", click.Command("version", callback=fail))
    ran = ftlaunch("version")
    assert ran.code == 1
    assert ran.err == (
        "ftlaunch: unexpected ZeroDivisionError: oops; this is a bug: "
        "FTLAUNCH_DEBUG=1 shows where it happened\n"
    )
    monkeypatch.setenv("FTLAUNCH_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        ftlaunch("version")


def test_a_closed_pipe_is_quiet():
    done = subprocess.run(
        f"{sys.executable} -m launcher schema | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("{", "")


def test_completion_of_commands_imports_none_of_them(monkeypatch):
    monkeypatch.setattr(importlib, "import_module", None)
    ctx = click.Context(group)
    assert [item.value for item in group.shell_complete(ctx, "ver")] == ["version"]


def test_the_entry_point_runs_a_command():
    done = python("import sys; sys.argv = ['ftlaunch', 'version']; from launcher.cli import main; main()")
    assert done.returncode == 0
    assert done.stdout.startswith("ftlaunch ")


def test_kubeconfig_may_stand_before_and_behind_a_command(ftlaunch, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "before")
    nowhere = tmp_path / "none"
    for arguments in (("--kubeconfig", nowhere, "doctor"), ("doctor", "--kubeconfig", nowhere)):
        ran = ftlaunch(*arguments)
        assert ran.code == 3
        assert str(nowhere) in ran.out + ran.err
        assert os.environ["KUBECONFIG"] == "before"


def test_options_of_a_program_that_exec_runs_are_its_own():
    command = group.get_command(click.Context(group), "exec")
    assert "kubeconfig" not in [option.name for option in command.params]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ps", "'list'"),
        ("stop", "'cancel'"),
        ("rm", "'delete'"),
        ("run", "'submit'"),
        ("train", "`trainer train`"),
    ],
)
def test_words_of_other_tools_lead_on(ftlaunch, typed, meant):
    ran = ftlaunch(typed, "flowers")
    assert (ran.code, ran.out) == (2, "")
    assert f"did you mean {meant}?" in ran.err


def test_every_synonym_names_a_command_and_hides_none():
    assert set(SYNONYMS.values()) <= set(COMMANDS)
    assert not set(SYNONYMS) & set(COMMANDS)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (
            ["ckpt", "average"],
            "expected one of ls, pull, verify, got 'average'; did you mean `trainer ckpt average`?",
        ),
        (["ckpt", "list"], "got 'list'; did you mean 'ls'?"),
        (["data", "frobnicate"], "expected one of check, push, report, got 'frobnicate'\n"),
        (["data-report"], "did you mean `trainer data-report`?"),
        (["profile"], "did you mean `trainer profile`?"),
    ],
)
def test_a_word_below_a_command_leads_on_too(ftlaunch, typed, sentence):
    ran = ftlaunch(*typed)
    assert (ran.code, ran.out) == (2, "")
    assert sentence in ran.err


def test_help_is_a_word_too(ftlaunch):
    assert ftlaunch("help").out == ftlaunch("--help").out
    assert ftlaunch("help", "submit").out == ftlaunch("submit", "--help").out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_texts_are_sentences(name):
    """They begin with a capital, end with a full stop, and say more than whose the thing is."""
    command = group.get_command(click.Context(group), name)
    commands = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
    for each in commands:
        assert each.help
        assert each.help.strip()[0].isupper()
        for option in each.params:
            if isinstance(option, click.Option) and option.help and not option.hidden:
                assert option.help[0].isupper(), option.name
                assert option.help.endswith("."), option.name
                assert not option.help.startswith(("Of ", "Likewise", "Only ")), option.name


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["timeout", "terminal-closed"])
def test_a_command_that_is_told_to_end_cleans_up_as_after_ctrl_c(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), ended_like_ctrl_c():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_below_nohup_a_closed_terminal_ends_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_like_ctrl_c():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
