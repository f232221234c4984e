"""The tracker that the page on trackers writes works, by an entry point and by its module."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.trainer.trackers.conftest import Output
from trainer.protocol.tracking import Ending, Target
from trainer.trackers.delivery import Delivery
from trainer.trackers.registry import find_tracker

PAGE = Path(__file__).resolve().parents[3] / "docs" / "trackers.md"


def printed(mark: str) -> str:
    """Return the indented block behind a line of the page."""
    lines = PAGE.read_text(encoding="utf-8").partition(mark)[2].splitlines()[1:]
    block: list[str] = []
    for line in lines:
        if line.strip() and not line.startswith("    "):
            break
        block.append(line[4:])
    return "\n".join(block).strip() + "\n"


@pytest.mark.parametrize("name", ["countrows", "countrows:CountRows"])
def test_it_counts(output: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    module = printed("<!-- file: countrows.py -->")
    assert len(module.splitlines()) <= 25
    (tmp_path / "countrows.py").write_text(module)
    entry = printed("by an entry point:").replace('"', "").replace("project.entry-points.", "")
    info = tmp_path / "countrows-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: countrows\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "countrows", raising=False)
    output.steps(1, 2)
    counted = tmp_path / "count.txt"
    request = output.request(name, ending=Ending(state="finished"), uri=str(counted))
    tracker = find_tracker(Target(tracker=name, settings=request.target.settings))()
    assert Delivery(request=request, tracker=tracker, tell=lambda _: None, wait=lambda _: None).run()
    assert counted.read_text() == "2 rows, the last {'train/loss': 0.5}\nfinished\n"
