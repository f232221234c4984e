"""flag > -o > FTLAUNCH_* > cfg.yaml > .ftlaunch.yaml > user file > default, and `render --explain`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.runs import settings
from tests.launcher.configs import RUN_ID

LEVELS = ["default", "user", "project", "cfg", "env", "-o", "flag"]


@pytest.fixture
def set_up(
    write_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[list[str]], list[str]]:
    """Say another number of nodes at each of some levels; return the arguments."""

    def at(levels: list[str]) -> list[str]:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
        arguments = [str(write_config(launch={"nodes": 4} if "cfg" in levels else {}))]
        if "user" in levels:
            settings.user_file().parent.mkdir(parents=True)
            settings.user_file().write_text("Launch: {nodes: 2}\n")
        if "project" in levels:
            Path(".ftlaunch.yaml").write_text("Launch:\n  nodes: 3\n")
        if "env" in levels:
            monkeypatch.setenv("FTLAUNCH_NODES", "5")
        arguments += ["-o", "Launch.nodes=6"] if "-o" in levels else []
        arguments += ["--nodes", "7"] if "flag" in levels else []
        return arguments

    return at


def explained(ftlaunch: Callable[..., Any], *arguments: object) -> dict[str, dict[str, Any]]:
    ran = ftlaunch("render", *arguments, "--explain", "--output", "json", "--run-id", RUN_ID)
    assert ran.code == 0, ran.err
    return {f"{row['kind']} {row['name']}": row for row in json.loads(ran.out)["rows"]}


@pytest.mark.parametrize("top", range(len(LEVELS)), ids=LEVELS)
def test_the_highest_level_wins_and_is_named(ftlaunch, set_up, top):
    row = explained(ftlaunch, *set_up(LEVELS[: top + 1]))["launch Launch.nodes"]
    assert row["value"] == top + 1
    named = {
        "default": "default", "user": f"{settings.user_file()}:1:17", "cfg": "cfg.yaml:",
        "env": "FTLAUNCH_NODES",
        "project": f"{Path('.ftlaunch.yaml').resolve()}:2:10", "-o": "-o Launch.nodes=6", "flag": "--nodes",
    }  # fmt: skip
    assert row["from"].startswith(named[LEVELS[top]])


def test_every_key_variable_argument_and_mount_has_a_source(ftlaunch, write_config):
    path = write_config(launch={"env": {"NCCL_DEBUG": "WARN"}, "gpus": 0})
    rows = explained(
        ftlaunch, path, "-o", "Global.epochs=3", "-o", "Launch.env.A=b", "--on", "local",
        "--volume", "/data=x:.", "--volume", "/output=y:.", "--volume", "/more=z:.",
    )  # fmt: skip
    assert rows["on on"]["from"] == "--on"
    assert rows["launch Launch.gpus"]["from"].startswith("cfg.yaml:")
    assert rows["launch Launch.hang_timeout"] == {
        "kind": "launch", "name": "Launch.hang_timeout", "value": 600.0, "from": "default",
    }  # fmt: skip
    assert rows["launch Launch.env.A"]["from"] == rows["env A"]["from"] == "-o Launch.env.A=b"
    assert rows["env NCCL_DEBUG"]["from"].startswith("cfg.yaml:")
    assert rows["env PADDLE_NNODES"]["value"] == "1"
    assert rows["argv 8"]["from"] == "-o Global.epochs=3"
    assert rows["argv 10"]["from"].startswith("ftlaunch: no GPUs")
    assert rows["mount /more"]["from"] == "--volume"
    assert rows["mount /etc/ftlaunch"]["from"] == "ftlaunch"
    assert all(row["from"] for row in rows.values())


def test_the_table_is_for_people(ftlaunch, write_config):
    out = ftlaunch("render", write_config(), "--explain", "--nodes", 2).out
    assert [line for line in out.splitlines() if not line.startswith(" ")] == [
        "place:", "Launch:", "environment:", "command:", "mounts:",
    ]  # fmt: skip
    assert any(line.split() == ["Launch.nodes", "2", "--nodes"] for line in out.splitlines())
    ran = ftlaunch("render", "cfg.yaml", "--output", "json")
    assert ran.code == 2


@pytest.mark.parametrize(
    ("project", "environ", "arguments", "on", "source"),
    [
        ("", {}, [], "kubernetes", "default"),
        ("backend: local\n", {}, [], "local", ".ftlaunch.yaml:1:10"),
        ("backend: local\n", {"FTLAUNCH_ON": "kubernetes"}, [], "kubernetes", "FTLAUNCH_ON"),
        ("", {"FTLAUNCH_ON": "kubernetes"}, ["--on", "local"], "local", "--on"),
    ],
)
def test_the_place_can_be_set_too(
    ftlaunch, write_config, monkeypatch, project, environ, arguments, on, source
):
    path = write_config(launch={"gpus": 0})
    Path(".ftlaunch.yaml").write_text(project or "{}")
    assert ftlaunch("trust").code == 0
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    row = explained(ftlaunch, path, *arguments)["on on"]
    assert row["value"] == on
    assert row["from"].endswith(source)


def test_settings_are_searched_for_upwards_to_the_repository_or_home(tmp_path):
    inner = tmp_path / "home" / "repository" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / ".ftlaunch.yaml").write_text("backend: local")
    assert settings.find_settings(inner, home=tmp_path / "home").read == ()
    (inner.parent / ".ftlaunch.yaml").write_text("backend: local")
    assert settings.find_settings(inner, home=tmp_path / "home").read == (inner.parent / ".ftlaunch.yaml",)
    (inner / ".git").mkdir()
    assert settings.find_settings(inner, home=tmp_path / "home").read == ()


@pytest.mark.parametrize("kind", ["pipe", "device", "dangling"])
def test_settings_that_are_no_plain_file_are_not_read_and_that_is_said(ftlaunch, write_config, kind):
    path, odd = write_config(), Path(".ftlaunch.yaml")
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to("/dev/zero" if kind == "device" else "nowhere.yaml")
    ran = ftlaunch("render", path)
    assert ran.code == 0
    assert ".ftlaunch.yaml: warning: belongs to another user, or is no plain file, and is not read" in ran.err


def test_settings_of_another_user_are_ignored_with_a_warning(ftlaunch, write_config, monkeypatch):
    path = write_config()
    Path(".ftlaunch.yaml").write_text("Launch: {nodes: 9}\n")
    monkeypatch.setattr(settings, "is_ours", lambda path: False)
    ran = ftlaunch("render", path)
    assert ran.code == 0
    assert "belongs to another user" in ran.err
    assert "1 node" in ran.err


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("Launch: {nodse: 2}", 2, ".ftlaunch.yaml:1:17: Launch.nodse: expected a parameter"),
        ("Launch: {nodes: none}", 2, ".ftlaunch.yaml:1:17: Launch.nodes: expected a whole number"),
        ("Lunch: {nodes: 2}", 0, "did you mean 'Launch'?"),
        ("backend: lokal", 2, "did you mean 'local'?"),
        ("Launch: 3", 2, "expected a mapping"),
        ("a: [", 2, "expected YAML"),
    ],
)  # fmt: skip
def test_a_mistake_in_settings_is_said_with_its_place(ftlaunch, write_config, text, code, message):
    path = write_config()
    Path(".ftlaunch.yaml").write_text(text)
    ran = ftlaunch("render", path)
    assert ran.code == code
    assert message in ran.err


@pytest.mark.parametrize(
    ("variable", "value", "code", "message"),
    [
        ("FTLAUNCH_NODE", "2", 0, "did you mean 'FTLAUNCH_NODES'?"),
        (
            "FTLAUNCH_NODES",
            "two",
            2,
            "FTLAUNCH_NODES: Launch.nodes: expected a whole number or a mapping, got 'two'",
        ),
        ("FTLAUNCH_ON", "lokal", 2, "did you mean 'local'?"),
        ("FTLAUNCH_IMAGE", "registry.example/x:1.10", 0, ""),
        ("FTLAUNCH_NAMESPACE", "1234", 0, ""),
        ("FTLAUNCH_HANG_TIMEOUT", "null", 0, ""),
        ("FTLAUNCH_RESOURCES", "{'cpu': 4}", 0, ""),
        ("FTLAUNCH_WEIGHTS", "/a/folder/of/the/trainer", 0, ""),
        ("FTLAUNCH_WEIGHTS", "~/weights", 0, ""),
        ("FTLAUNCH_WEIGHTS", "{'claim': 'w', 'path': '/w', 'folder': 3}", 2, "Launch.weights.folder"),
        ("FTLAUNCH_OFFLINE", "1", 0, ""),
    ],
)
def test_variables_are_read_like_overrides(
    ftlaunch, write_config, monkeypatch, variable, value, code, message
):
    path = write_config()
    monkeypatch.setenv(variable, value)
    ran = ftlaunch("render", path)
    assert ran.code == code, ran.err
    assert message in ran.err
    assert ("FTLAUNCH" in ran.err) is bool(message)
