from __future__ import annotations

import importlib
import re
from pathlib import Path

import click
import pytest

from launcher.cli.main import COMMANDS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "commands.md").read_text()


def rows(name: str) -> str:
    """What the page says of a command: its rows, and the section that submit, render and validate share."""
    own = "\n".join(line for line in PAGE.splitlines() if re.match(rf"\| `ftlaunch {name}\b", line))
    assert own, f"docs/commands.md: expected a row of `ftlaunch {name}`"
    shared = PAGE.partition("## Options that make a job")[2].partition("\n## ")[0]
    return own + (shared if name in ("submit", "render") else "")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_names_every_option_of_a_command(name: str) -> None:
    command: click.Command = importlib.import_module(COMMANDS[name].module).command
    text = rows(name)
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            longest = max((*option.opts, *option.secondary_opts), key=len)
            assert re.search(rf"{longest}\b", text), f"docs/commands.md: {name}: expected {longest}"


def test_the_page_names_no_command_that_is_not_there() -> None:
    named = set(re.findall(r"^\| `ftlaunch ([a-z]+)", PAGE, re.MULTILINE))
    assert named == set(COMMANDS)
