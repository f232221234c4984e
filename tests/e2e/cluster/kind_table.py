"""What the cluster suite has shown of each kind of job object: the table in docs/kubernetes.md.

`make kind-table` runs `test_kind*.py` with `FTLAUNCH_KIND_TABLE` naming `kinds.json`, where each block of
a test notes how it went, and then writes the table into the page. `tests/docs` holds the two equal. CI runs
each of these tests with the kinds that `of_kinds` names: those where something else could go wrong.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launcher.kinds.base import JobKind
from launcher.kinds.registry import KINDS

WANTED_AT = os.environ.get("FTLAUNCH_KIND_TABLE")
"""Read before a test's own environment begins, which has none of ours."""
KEPT = Path(__file__).with_name("kinds.json")
PAGE = Path(__file__).resolve().parents[3] / "docs/kubernetes.md"
BEGIN, END = "<!-- kinds: begin -->", "<!-- kinds: end -->"
_WORDS = {"shown": "yes", "failed": "**no**", "not there": "not there"}


def of_kinds(*in_ci: JobKind) -> pytest.MarkDecorator:
    """Run a test with some kinds as its argument `kind`, and with all where a table is wanted."""
    return pytest.mark.parametrize("kind", KINDS if WANTED_AT else in_ci, ids=lambda kind: kind.name)


@contextmanager
def showing(kind: JobKind, *capabilities: str) -> Iterator[None]:
    """Note what the block shows: `shown` where it ends, else `failed`."""
    how = "failed"
    try:
        yield
        how = "shown"
    finally:
        note(kind, *capabilities, how=how)


def note(kind: JobKind, *capabilities: str, how: str) -> None:
    """Keep how a kind does with some capabilities, where a table is wanted."""
    if WANTED_AT:
        kept = Path(WANTED_AT)
        table = json.loads(kept.read_text()) if kept.exists() else {}
        table.setdefault(kind.name, {}).update(dict.fromkeys(capabilities, how))
        kept.write_text(json.dumps(table, indent=1) + "\n")


def render(table: dict[str, dict[str, str]]) -> str:
    """Write the table, a row a capability in the order in which they were shown."""
    names = [kind.name for kind in KINDS if kind.name in table]
    titles = [kind.resource.kind for kind in KINDS if kind.name in table]
    rows = list(dict.fromkeys(capability for name in names for capability in table[name]))
    lines = [f"| | {' | '.join(titles)} |", f"|---|{'---|' * len(titles)}"]
    for row in rows:
        cells = [_WORDS.get(table[name].get(row, ""), "not tried") for name in names]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    table = render(json.loads(KEPT.read_text()))
    PAGE.write_text(f"{before}{BEGIN}\n{table}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
