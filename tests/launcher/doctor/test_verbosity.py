"""`-v` and FTLAUNCH_LOG show what happens behind a command, and no secret; `doctor` asks many things."""

from __future__ import annotations

import logging

import pytest

from launcher.cli.main import run
from launcher.config.confidential import hide
from tests.launcher.kube.test_client import write_kubeconfig

TOKEN = "shape-of-nothing-known-0123456789"


@pytest.fixture
def doctor(server, tmp_path, monkeypatch, capfd):
    """Run `doctor` against a server that is reached with a token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / "state"))
    path = write_kubeconfig(tmp_path, url=server.url, user={"token": TOKEN})
    monkeypatch.setenv("KUBECONFIG", str(path))

    def call(*arguments: str) -> tuple[str, list[str]]:
        capfd.readouterr()
        assert run(arguments) in (0, 7)
        out, err = capfd.readouterr()
        return out, err.splitlines()

    return call


@pytest.mark.parametrize("arguments", [("-v", "doctor"), ("doctor", "-v")], ids=" ".join)
def test_requests_are_shown_before_and_behind_a_command(doctor, arguments):
    before = list(logging.getLogger("ftlaunch").handlers)
    out, log = doctor(*arguments)
    assert any(" debug kube: GET /version" in line and ": 200 in " in line for line in log), log
    assert TOKEN not in out + "\n".join(log)
    assert logging.getLogger("ftlaunch").handlers == before


def test_the_variable_does_it_for_every_command(doctor, monkeypatch):
    monkeypatch.setenv("FTLAUNCH_LOG", "debug")
    _, log = doctor("doctor")
    assert sum("GET /version" in line for line in log) == 1
    monkeypatch.setenv("FTLAUNCH_LOG", "warning")
    assert not any("GET" in line for line in doctor("doctor")[1])
    assert any("GET /version" in line for line in doctor("doctor", "-v")[1])


def test_nothing_is_shown_that_nobody_asked_for(doctor):
    assert not any("GET" in line for line in doctor("doctor")[1])


def test_a_level_that_is_none_is_refused(monkeypatch, capfd):
    monkeypatch.setenv("FTLAUNCH_LOG", "loud")
    assert run(["version"]) == 2
    assert "FTLAUNCH_LOG: expected one of debug, info, warning, got 'loud'" in capfd.readouterr().err


def test_a_record_is_one_line_without_secrets(monkeypatch, capfd):
    monkeypatch.setenv("FTLAUNCH_LOG", "info")
    from launcher.cli.main import COMMANDS, group  # the command is asked in this process

    assert "version" in COMMANDS
    with group.make_context("ftlaunch", ["version"]) as context:
        logging.getLogger("ftlaunch.test").info("Authorization: Bearer %s\nand\x1b[31m more", TOKEN)
        assert context.command is group
    (line,) = capfd.readouterr().err.splitlines()
    assert TOKEN not in line
    assert "\x1b[31m more" not in line
    assert "more" in line


@pytest.mark.parametrize(
    "text",
    [
        f"bearer {TOKEN}", f"password={TOKEN}", f"https://ann:{TOKEN}@example.com/x",
        f"authorization: Bearer {TOKEN}", "ghp_" + "a" * 36,
    ],
)  # fmt: skip
def test_what_is_announced_as_a_secret_is_hidden_to_its_end(text):
    left = hide(text)
    assert not any(part in left for part in (TOKEN[-12:], "a" * 12)), left
