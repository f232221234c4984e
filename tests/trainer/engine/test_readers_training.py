from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainer.data.auto_workers import Room

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reader processes need Linux")


def rows(workshop: Any, output: str) -> list[Any]:
    lines = (workshop.folder / output / "metrics.jsonl").read_text().splitlines()
    return [
        (row["event"], row.get("step"), row.get("loss"), row.get("top1"))
        for row in map(json.loads, lines)
        if row["event"] in ("step", "epoch", "eval")
    ]


@pytest.mark.parametrize("batch_ops", [[], [{"MixupOperator": {"alpha": 0.4}}]], ids=["plain", "mixed"])
def test_losses_are_the_same_whoever_reads(workshop: Any, monkeypatch: Any, batch_ops: list[Any]) -> None:
    monkeypatch.setattr("trainer.data.auto_workers._SOON_S", 0.0)
    monkeypatch.setattr("trainer.engine.setup._room", lambda *_: Room(cores=3, on_gpu=True))
    for name in ("train3", "val2"):
        (workshop.folder / f"{name}.png").write_bytes(b"no image")
    losses = {"Metric__Train": None} if batch_ops else {}  # mixed labels have no right answer
    for workers in (0, 1, "auto"):
        loader = {"num_workers": workers, "bad_images": "skip", "bad_images_limit": 0.5}
        workshop.train(
            Global__output_dir=str(workshop.folder / f"with-{workers}"), DataLoader__Train__loader=loader,
            DataLoader__Eval__loader=loader, DataLoader__Train__dataset__batch_transform_ops=batch_ops,
            **losses,
        )  # fmt: skip
    expected = rows(workshop, "with-0")
    assert len(expected) > 4
    assert rows(workshop, "with-1") == expected
    assert rows(workshop, "with-auto") == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_to_the_whole_group_ends_after_a_save_and_leaves_nobody(
    workshop: Any, number: signal.Signals
) -> None:
    document = workshop._document(
        {"Global__epochs": 5000, "Global__eval_during_train": False,
         "DataLoader__Train__loader": {"num_workers": 2}}
    )  # fmt: skip
    config = workshop.folder / "long.yaml"
    config.write_text(yaml.safe_dump(document, sort_keys=False))
    command = [sys.executable, "-m", "trainer", "train", "-c", str(config)]
    with subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "[Iter: " in line)
        below = members(process.pid)
        assert len(below) >= 4  # itself, the fork server, two readers
        os.killpg(process.pid, number)
        rest = process.stdout.read()
        assert process.wait() == (130 if number == signal.SIGINT else 143), rest
    assert "reader process" not in rest
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in below):
        assert time.monotonic() < end
        time.sleep(0.02)


def members(group: int) -> list[int]:
    """The processes of a group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) == group:
                    found.append(int(entry.name))
            except ProcessLookupError:
                continue
    return found
