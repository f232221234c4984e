"""ARCHITECTURE.md shows the rooms that there are, and the arrows that import-linter holds."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from launcher.cli.main import COMMANDS as OF_LAUNCHER
from trainer.cli.main import group

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
NOT_ROOMS = {"__init__.py", "__main__.py", "__pycache__", "py.typed"}


@pytest.mark.parametrize("package", ["launcher", "trainer"])
def test_every_room_is_on_the_page(package):
    tree, table = PAGE.partition("## Rooms")[2].partition("## Arrows")[0].split("\n```\n")[1:3]
    here = re.split(r"^(?=\w)", tree, flags=re.MULTILINE)
    drawn = next(part for part in here if part.startswith(f"{package}/"))
    names = {path.name for path in (REPOSITORY / package).iterdir()} - NOT_ROOMS
    assert names
    assert [name for name in sorted(names) if not re.search(rf"(?<!\w){re.escape(name)}", drawn)] == []
    rooms = {path.name for path in (REPOSITORY / package).iterdir() if (path / "__init__.py").is_file()}
    told = table.replace("` `", f"` `{package}/")
    assert [name for name in sorted(rooms - {"kube"}) if f"`{package}/{name}" not in told] == []


@pytest.mark.parametrize("package", ["launcher", "trainer"])
def test_the_arrows_are_those_that_are_held(package):
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")  # Python 3.10 has no tomllib
    layers = (
        text.partition(f'name = "One way through the {package}"')[2]
        .partition("layers = [")[2]
        .partition("\n]")[0]
    )
    held = [
        {name.removeprefix(f"{package}.") for name in re.split(r" [:|] ", layer)}
        for layer in re.findall(r'"(.+)"', layers)
    ]
    assert len(held) > 5
    drawn = PAGE.partition("## Arrows")[2]
    arrows = re.search(rf"^{package} +(cli (?:.+\n)(?: +→ .+\n)*)", drawn, re.MULTILINE)
    assert arrows
    assert [set(re.findall(r"\w+", part)) for part in arrows[1].split("→")] == held


@pytest.mark.parametrize(
    ("program", "names"),
    [("ftlaunch", list(OF_LAUNCHER)), ("trainer", group.list_commands(click.Context(group)))],
    ids=["ftlaunch", "trainer"],
)
def test_every_command_is_on_the_page_of_commands(program, names):
    page = (REPOSITORY / "docs/commands.md").read_text(encoding="utf-8")
    assert len(names) > 5
    assert [name for name in names if f"| `{program} {name}" not in page] == []


def test_the_page_has_the_commands_of_the_trainer():
    told = re.search(r"^\| `trainer/cli` \| `trainer (.+?)`", PAGE, re.MULTILINE)
    assert told
    assert sorted(told[1].split(" · ")) == sorted(group.list_commands(click.Context(group)))
