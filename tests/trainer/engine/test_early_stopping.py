"""Runs that end because they get no better."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trainer.checkpoints.pdfiles import read_arrays
from trainer.checkpoints.state import EarlyStoppingState, format_state, parse_state
from trainer.config.problems import ConfigError
from trainer.engine import train as train_module
from trainer.engine.early_stopping import EarlyStopping
from trainer.engine.train import first_state

SHORT = {"Global__iter_per_epoch": 1, "Global__epochs": 9}


def rows(workshop, event: str, output: str = "output") -> list[dict[str, Any]]:
    lines = (workshop.folder / output / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["event"] == event]


def measured(monkeypatch, **values: list[float]) -> None:
    """Have evaluations find these values, one an epoch."""
    real = train_module.Training._measure

    def measure(training: Any) -> Any:
        found = real(training)
        for name, of_epoch in values.items():
            kept = found.losses if name == "loss" else found.metrics
            kept[name] = of_epoch[training.state.epoch - 1]
        return found

    monkeypatch.setattr(train_module.Training, "_measure", measure)


@pytest.mark.parametrize(
    ("asked", "values", "ends_after"),
    [
        ({"patience": 2}, {"top1": [0.5, 0.6, 0.6, 0.55, 0.9]}, 4),
        ({"patience": 2, "metric": "loss"}, {"loss": [2.0, 1.0, 1.0, 0.9, 0.95, 0.9, 0.1]}, 6),
        ({"patience": 1, "min_delta": 0.1}, {"top1": [0.5, 0.65, 0.7, 0.9]}, 3),
        ({"patience": 3, "metric": "top2"}, {"top2": [math.nan, 0.1, math.nan, 0.1, 0.1, 0.2]}, 5),
        ({"patience": 2, "metric": "top1", "mode": "min"}, {"top1": [0.5, 0.4, 0.5, 0.6, 0.1]}, 4),
    ],
    ids=["more", "loss", "by so much", "no number", "turned round"],
)
def test_a_run_ends_after_so_many_evaluations_that_are_no_better(
    workshop, monkeypatch, asked, values, ends_after
):
    measured(monkeypatch, **{name: found + [found[-1]] * 9 for name, found in values.items()})
    reached = workshop.train(**SHORT, Global__early_stopping=asked)
    assert reached.step == ends_after
    (row,) = rows(workshop, "early_stopping")
    assert (row["epoch"], row["metric"]) == (ends_after, asked.get("metric", "top1"))
    assert reached.early_end == row["reason"]
    assert f"early stopping after epoch {ends_after} of 9: " in row["reason"]
    assert parse_state((workshop.folder / "output/.ftlaunch/checkpoints").joinpath(
        f"e{ends_after:03d}-s{ends_after:06d}", "state.json").read_bytes()).epoch == ends_after  # fmt: skip


def test_evaluations_count_and_not_epochs(workshop, monkeypatch):
    measured(monkeypatch, top1=[0.5] * 9)
    reached = workshop.train(**SHORT, Global__early_stopping={"patience": 2}, Global__eval_interval=2)
    assert reached.step == 6  # evaluated after 2, 4 and 6


def test_a_run_that_gets_better_goes_to_its_end(workshop, monkeypatch):
    measured(monkeypatch, top1=[0.1 * step for step in range(1, 10)])
    reached = workshop.train(**SHORT, Global__early_stopping={"patience": 1})
    assert (reached.step, reached.early_end) == (9, None)
    assert rows(workshop, "early_stopping") == []


def test_the_average_of_the_weights_can_be_looked_at(workshop):
    reached = workshop.train(
        **SHORT, EMA={"decay": 1.0}, Global__early_stopping={"metric": "ema_loss", "patience": 3}
    )
    assert reached.step == 4  # an average that never moves has one loss


def test_the_count_goes_on_over_a_stop(workshop, monkeypatch):
    changes = {**SHORT, "Global__iter_per_epoch": 2, "Global__early_stopping": {"patience": 3}}
    measured(monkeypatch, top1=[0.5, 0.6, 0.6, 0.6, 0.6, 0.9, 0.9, 0.9, 0.9])
    whole = workshop.train(**changes)
    assert whole.step == 10
    halves = {**changes, "Global__output_dir": str(workshop.folder / "halves")}
    workshop.train_and_stop(at=6, **halves)
    again = workshop.train(**halves, resume="latest")
    assert (again.step, again.early_end) == (whole.step, whole.early_end)
    one, other = (read_arrays(workshop.folder / name / "latest.pdparams") for name in ("output", "halves"))
    for key, value in one.items():
        np.testing.assert_array_equal(value, other[key], err_msg=key)


def test_a_run_that_has_ended_is_not_gone_on_with_unless_more_is_borne(workshop, monkeypatch):
    measured(monkeypatch, top1=[0.5] * 9)
    assert workshop.train(**SHORT, Global__early_stopping={"patience": 1}).step == 2
    again = workshop.train(**SHORT, Global__early_stopping={"patience": 1}, resume="latest")
    assert (again.step, again.early_end is not None) == (2, True)
    assert workshop.train(**SHORT, Global__early_stopping={"patience": 3}, resume="latest").step == 4


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"early_stopping": {"metric": "top5"}}, "which are loss, top1, top2, got 'top5'"),
        ({"early_stopping": {"metric": "ema_top1"}}, "expected the section EMA beside ema_top1"),
        ({"early_stopping": {}, "eval_during_train": False}, "expected evaluations beside it"),
        ({"early_stopping": {"patience": 0}}, "patience"),
        ({"early_stopping": {"wait": 3}}, "wait"),
    ],
    ids=["unknown", "no average", "no evaluations", "no patience", "no such key"],
)
def test_what_cannot_be_looked_at_is_refused_before_training(workshop, changes, says):
    with pytest.raises(ConfigError, match=says):
        workshop.config(**{f"Global__{key}": value for key, value in changes.items()})


def test_a_metric_without_a_name_needs_one_to_choose_by(workshop):
    with pytest.raises(ConfigError, match=r"early_stopping: expected a metric in Metric\.Eval"):
        workshop.config(Global__early_stopping={}, Metric__Eval=[])
    assert workshop.config(Global__early_stopping={"metric": "loss"}, Metric__Eval=[])


def test_another_metric_begins_anew():
    rule = EarlyStopping(metric="loss", less_is_better=True, patience=1, min_delta=0.0)
    before = EarlyStoppingState(metric="top1", best=0.9, best_epoch=2, waited=7)
    after = rule.observe(before, {"loss": 3.0}, key="top1", chosen=0.5, epoch=8)
    assert after == EarlyStoppingState(metric="loss", best=3.0, best_epoch=8, waited=0)


def test_a_state_keeps_the_count_and_is_read_without_one():
    state = first_state(run_id="ab" * 16, world_size=1)
    count = EarlyStoppingState(metric="loss", best=0.25, best_epoch=3, waited=2)
    assert parse_state(format_state(replace(state, early_stopping=count))).early_stopping == count
    assert "early_stopping" not in format_state(state)
    assert parse_state(format_state(state)).early_stopping is None
