from __future__ import annotations

import importlib
import subprocess
import sys

import click
import pytest

from launcher.cli.main import COMMANDS, group
from launcher.errors import CliExit, LaunchError, NotFoundError, UnreachableError, UsageError
from trainer.config.problems import ConfigError, Problem

VERSION = importlib.import_module(COMMANDS["version"].module)


def python(code: str, **given) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=60, **given)


def test_help_imports_nothing_heavy():
    done = python(
        "import sys\n"
        "from launcher.cli.main import run\n"
        "code = run(['--help'])\n"
        "heavy = {'pydantic', 'kubernetes', 'jinja2', 'yaml', 'paddle', 'numpy'} & set(sys.modules)\n"
        "sys.exit(code or len(heavy))"
    )
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


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
