from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.protocol.tracking import Ending, Request, Target

RUN_ID = "0123456789abcdef" * 2


class Output:
    """An output folder that a training writes to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".ftlaunch").mkdir(parents=True)

    @property
    def state(self) -> Path:
        return self.folder / ".ftlaunch" / "track"

    def row(self, event: str = "step", **values: Any) -> None:
        row = {"event": event, "attempt": 1, "time_s": 1e9, "epoch": 1, **values}
        self.write(json.dumps(row) + "\n")

    def steps(self, *steps: int, **values: Any) -> None:
        for step in steps:
            self.row(step=step, **{"loss": 1.0 / step, **values})

    def write(self, text: str) -> None:
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(text)

    def describe(self) -> None:
        value = {"key": "Global.epochs", "value": "3", "origin": "cfg.yaml:3"}
        text = json.dumps({"values": [value], "facts": [{"name": "NumPy, OpenCV", "value": "2, 4"}]})
        (self.folder / ".ftlaunch" / "facts.json").write_text(text)

    def request(self, tracker: str = "fake", ending: Ending | None = None, **settings: str) -> Request:
        return Request(
            target=Target(tracker=tracker, settings=settings), job="flowers-a3f9k", run_id=RUN_ID,
            output_dir=str(self.folder), state_dir=str(self.state), facts={"git.commit": "a" * 40},
            ending=ending,
        )  # fmt: skip


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(tmp_path / "out")
