"""Where the time of a training goes is measured while it runs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from trainer.data.loader import Loader
from trainer.engine import evaluate as evaluate_module
from trainer.engine.liveness import Liveness
from trainer.protocol.heartbeat import Heartbeats, Phase
from trainer.ranks import Ranks


def rows(workshop, event: str) -> list[dict[str, Any]]:
    lines = (workshop.folder / "output" / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["event"] == event]


def test_a_training_whose_images_come_late_says_so(workshop, monkeypatch, capsys, tmp_path):
    real, seen = Loader.batches, []

    def slowly(loader: Loader, *args: Any, **keys: Any) -> Any:
        for batch in real(loader, *args, **keys):
            if loader is not None and loader._training:
                time.sleep(0.3)
            yield batch

    def enter(liveness: Liveness, phase: Phase) -> None:
        if liveness.times is not None and liveness.times not in seen:
            seen.append(liveness.times)

    monkeypatch.setattr(Loader, "batches", slowly)
    monkeypatch.setattr(Liveness, "enter", enter)
    loader = {"num_workers": 0, "rng": "paddleclas"}  # an epoch may be longer than the list with it
    workshop.train(Global__epochs=2, Global__iter_per_epoch=6, DataLoader__Train__loader=loader)
    for row in rows(workshop, "times"):
        assert row["wait_s"] > 0.25
        parts = sum(row[name] for name in ("wait_s", "copy_s", "peers_s", "fetch_s", "compute_s"))
        assert parts == pytest.approx(row["step_s"], abs=1e-4)
        assert (row["steps"], row["workers"]) == (6, 0)
    assert seen
    assert all(times.wait_s > 0.25 for times in seen)
    first = rows(workshop, "times")[0]
    is_said = "of a step waits for images: 0 workers" in capsys.readouterr().out
    assert is_said or first["wait_s"] < first["step_s"] * 0.25  # on a machine that is so busy
    for row in rows(workshop, "step"):
        assert row["step_s"] >= row["reader_s"] > 0.25
        assert row["copy_s"] >= 0


def test_evaluations_and_saves_are_counted(workshop, monkeypatch):
    real = evaluate_module.evaluate_model

    def slowly(*args: Any, **keys: Any) -> Any:
        time.sleep(0.2)
        return real(*args, **keys)

    monkeypatch.setattr("trainer.engine.train.evaluate_model", slowly)
    workshop.train(Global__epochs=2)
    first, second = rows(workshop, "times")
    assert first["eval_s"] == 0  # it comes after the row
    assert second["eval_s"] > 0.2
    assert second["save_s"] > 0


def test_a_node_process_reads_them_while_the_training_runs(workshop, tmp_path):
    path = tmp_path / "beats"
    heartbeats = Heartbeats.create(path, ranks=1)
    workshop.train(ranks=Ranks(heartbeats=path), Global__epochs=3)
    record = heartbeats.read(0)
    assert record is not None
    assert record.times is not None
    assert record.times.steps >= 5
    assert record.times.step_s > 0
    assert record.times.cores > 0
    heartbeats.close()
