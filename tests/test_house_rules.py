"""What the house style asks of every module and a linter does not check."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
MODULES = sorted(path for room in ("launcher", "trainer") for path in (REPOSITORY / room).rglob("*.py"))
MAX_LINES = 500
LONGER = {
    "trainer/checkpoints/pickles.py": 650,  # one machine: its stack, its memo and each of its operations
}
"""Modules that are one thing, whole, and longer; each with its reason."""
SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base_utils"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_module_is_short_and_its_name_says_something(path: Path):
    assert len(path.read_text().splitlines()) <= LONGER.get(
        path.relative_to(REPOSITORY).as_posix(), MAX_LINES
    )
    assert path.stem not in SAY_NOTHING
    # A module of the standard library's name breaks Python where its folder is on sys.path.
    at_the_top = path.parent.name in ("launcher", "trainer")
    assert not (at_the_top and path.stem in sys.stdlib_module_names)


def test_no_package_hides_below_the_tests():
    assert list((REPOSITORY / "tests").rglob("__init__.py")) == []


def test_packages_do_no_work_on_import():
    for path in MODULES:
        if path.name == "__init__.py":
            lines = path.read_text().partition('"""')[2].partition('"""')[2].splitlines()
            work = [
                line for line in lines if line and not line.startswith(("from ", "__all__", " ", ")", "]"))
            ]
            assert work == [], path


@pytest.mark.parametrize("command", [["-m", "launcher", "--help"], ["-c", "import trainer.node.__main__"]])
def test_what_must_start_fast_imports_nothing_heavy(command):
    heavy = {"paddle", "numpy", "cv2", "kubernetes", "jinja2"}
    if command[0] == "-m":
        heavy |= {"pydantic", "yaml"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert imported & heavy == set()
