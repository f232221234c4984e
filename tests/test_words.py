"""The field's words: no identifier is a private noun that had to be learnt to read the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("ftlaunch", "launcher", "trainer")
_LISTED = (
    "ahead ancestor heir blaming narrate Asked Found keeper takeover Surroundings incarnation bell deaf "
    "rung waker posting removal Asker wire Sent Way Desk Intake seats Lane Shaper Wanted overlap Look "
    "Trouble porter Gap Listed cure unseen Outlook forever Looker Catalogue Later agreements ops_place "
    "ops_hide deal Share meeting journal assess advice oddities Means Pace weight_average rate_test "
    "Wish Reached crew _Hand ledger Course culprit Birth bury knock Dismissed ghost forgive board "
    "tether "
)
PRIVATE = frozenset(_LISTED.split())
"""Those that are no ordinary English for what they stand for. Left out of the list, because they are used in
their plain sense: kept, own, taken, changes, stopping, waits, sentences, faults, member (of an archive),
patience (of a schedule, PyTorch's and Paddle's own parameter), draws (a key of state.json)."""


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.keyword(arg=str(name)) | ast.alias(asname=str(name)):
                yield node.lineno, name
            case _:
                pass


def test_no_identifier_is_a_private_noun() -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}: {name}"
        for package in PACKAGES
        for path in sorted((REPOSITORY / package).rglob("*.py"))
        for line, name in identifiers(ast.parse(path.read_text(encoding="utf-8")))
        if name in PRIVATE
    ]
    assert found == []


def test_the_rule_sees_a_private_noun() -> None:
    tree = ast.parse("class Desk:\n    def knock(self, seats=1): return self.bell\n")
    assert [name for _, name in identifiers(tree) if name in PRIVATE] == ["Desk", "knock", "seats", "bell"]


def test_docstrings_say_it_again_instead_of_likewise() -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}"
        for package in PACKAGES
        for path in sorted((REPOSITORY / package).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"\blikewise\b", line, re.IGNORECASE)
    ]
    assert found == []
