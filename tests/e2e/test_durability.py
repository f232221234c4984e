"""A share of `make soak-durability`: a killed writer, and ranks that come and go within epochs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.soak_durability import main


@pytest.mark.parametrize(
    "part",
    [
        ("--kills", "1", "--victims", "writer", "--nodes", "2", "--sizes", "0"),
        ("--kills", "0", "--sizes", "1"),
    ],
    ids=["writer", "sizes"],
)
def test_nothing_is_torn_lost_or_different(tmp_path: Path, part: tuple[str, ...]):
    notes = tmp_path / "notes.json"
    assert main([*part, "--every", "0", "--seed", "5", "--notes", str(notes)]) == 0
    (end,) = json.loads(notes.read_text()).values()
    assert end in ("the same", "exact")
