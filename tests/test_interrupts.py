"""Ctrl-C while a command's libraries are still loading ends it as at any other time: 130, and not a word."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
LOADING = """
import sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {library!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
sys.argv = [{name!r}, *{arguments!r}]
from {module} import {function} as begin
begin()
"""


def scripts() -> dict[str, str]:
    """The functions that the installed scripts call, as pyproject.toml names them."""
    text = (REPOSITORY / "pyproject.toml").read_text().partition("[project.scripts]")[2].partition("[")[0]
    return dict(re.findall(r'^(\w+) = "(.+)"$', text, re.MULTILINE))  # Python 3.10 has no tomllib


@pytest.mark.parametrize(
    ("name", "library", "arguments"),
    [
        ("ftlaunch", "click", ["--help"]),
        ("ftlaunch", "yaml", ["validate", "cfg.yaml"]),
        ("trainer", "click", ["--help"]),
        ("trainer", "pydantic", ["train", "-c", "cfg.yaml"]),
    ],
)
def test_ctrl_c_while_libraries_load(tmp_path, name, library, arguments):
    (tmp_path / "cfg.yaml").write_text("Arch: {name: PPLCNet_x0_25}\n")
    module, function = scripts()[name].split(":")
    code = LOADING.format(library=library, name=name, arguments=arguments, module=module, function=function)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "")  # click ends the line of ^C
