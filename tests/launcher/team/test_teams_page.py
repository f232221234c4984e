"""The commands that docs/teams.md prints, and what it shows below them."""

from __future__ import annotations

import re
import shlex

import pytest

from launcher.cli.main import run
from launcher.objects import NODES
from launcher.team.gather import gather_team, gather_top
from tests.docs.pages import REPOSITORY, commands
from tests.launcher.team.test_team import node, progress

NOW_S = 1_795_000_000.0 + 78 * 60


@pytest.fixture
def team(cluster, submit, monkeypatch):
    """The cluster of the page: sixteen of 24 GPUs are ann's for 78 minutes, and bob waits in a queue."""
    for name in ("n1", "n2", "n3"):
        cluster.put(NODES, node(name, 8), namespace="")
    submit("flowers-t4k2m", user="ann", gpus=8, nodes=2)
    for index, host in enumerate(("n1", "n2")):
        cluster.place_pod(f"flowers-t4k2m-worker-{index}", host)
        cluster.start_pod(f"flowers-t4k2m-worker-{index}")
    lines = [progress(step=step, of=10_000, time_s=NOW_S - 60 + at) for at, step in ((0, 6_121), (60, 6_200))]
    cluster.write_log("flowers-t4k2m-worker-0", b"\n".join([*lines, b""]))
    cluster.pass_time(66 * 60)
    submit("leaves-9xw1c", user="bob", gpus=8, queue="team-a", held=True)
    for function in (gather_team, gather_top):
        monkeypatch.setitem(function.__kwdefaults__, "clock", lambda: NOW_S)


def printed_blocks() -> dict[str, list[str]]:
    text = (REPOSITORY / "docs" / "teams.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n\$ (.+)\n((?:.*\n)*?)```$", text, re.MULTILINE)
    return {command: output.rstrip("\n").split("\n") for command, output in blocks}


@pytest.mark.parametrize("command", commands("team"))
def test_the_page_shows_what_the_command_prints(command, team, capsys):
    program, *arguments = shlex.split(command)
    assert program == "ftlaunch"
    assert run(arguments) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.rstrip("\n").split("\n") == printed_blocks()[command]
