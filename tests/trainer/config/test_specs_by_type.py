"""The trainer asks the specs of a config by their types: what has no such field is a mistake."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TRAINER = Path(__file__).resolve().parents[3] / "trainer"
ROOMS = ("config", "data", "engine", "losses", "metrics", "optim", "postprocess")
MODULES = sorted(path for room in ROOMS for path in (TRAINER / room).rglob("*.py"))
OTHERS = {
    "engine/memory.py": "a layer of Paddle has weights, or has none",
    "config/document.py": "PyYAML has a C parser, or has not",
    "config/extras.py": "any callable may be a user's factory, also one without a module",
    "data/image_check.py": "not every system tells of the cores that a process may use",
    "engine/precision.py": "a tensor of Paddle, or a number",
    "engine/reports.py": "not every system has memory without a name",
}
"""Modules that ask what is no spec, each with what that is."""


def fields_asked_for(tree: ast.Module) -> Iterator[int]:
    """Yield lines that ask an object for an attribute by its name and have an answer where it has none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            is_asked = node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) > 2)
            if is_asked:
                yield node.lineno


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('getattr(loss, "weight", 1.0)', [1]),
        ('hasattr(op, "backend")', [1]),
        ("getattr(node, name)", []),
        ("loss.weight", []),
    ],
)
def test_the_rule_finds_what_has_a_default(line: str, found: list[int]) -> None:
    assert list(fields_asked_for(ast.parse(line))) == found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(TRAINER).as_posix())
def test_a_spec_is_asked_by_its_type(path: Path) -> None:
    if path.relative_to(TRAINER).as_posix() not in OTHERS:
        assert list(fields_asked_for(ast.parse(path.read_text()))) == []


def test_what_is_excepted_is_there_and_asks() -> None:
    for name in OTHERS:
        assert list(fields_asked_for(ast.parse((TRAINER / name).read_text())))
