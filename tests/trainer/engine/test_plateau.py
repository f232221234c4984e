"""A learning rate that follows the evaluations, also over a stop."""

from __future__ import annotations

import json
from typing import Any

from trainer.engine import train as train_module

LR = {
    "name": "ReduceOnPlateau",
    "learning_rate": 0.08,
    "by_epoch": True,
    "mode": "max",
    "factor": 0.5,
    "patience": 0,
}


def rates(workshop: Any, output: str) -> list[float]:
    lines = (workshop.folder / output / "metrics.jsonl").read_text().splitlines()
    last = {row["step"]: row["lr"] for line in lines if (row := json.loads(line))["event"] == "step"}
    return [last[step] for step in sorted(last)]


def test_the_rate_falls_after_each_evaluation_that_is_no_better_and_goes_on_after_a_stop(
    workshop, monkeypatch
):
    changes = {"Optimizer__lr": LR, "Global__epochs": 4, "Global__iter_per_epoch": 1}
    changes["Optimizer__momentum"] = 0.0
    found = [0.5, 0.5, 0.75, 0.6]
    real_measure = train_module.Training._measure

    def measure(self):
        results = real_measure(self)
        results.metrics["top1"] = found[self.state.epoch - 1]
        return results

    monkeypatch.setattr(train_module.Training, "_measure", measure)
    workshop.train(**changes)
    assert rates(workshop, "output") == [0.08, 0.08, 0.04, 0.04]

    changes["Global__output_dir"] = str(workshop.folder / "halves")
    workshop.train_and_stop(at=3, **changes)
    workshop.train(**changes, resume="latest")
    assert rates(workshop, "halves") == rates(workshop, "output")
