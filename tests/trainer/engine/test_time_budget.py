"""Runs that are to end in a time. The time of these tests goes by steps, evaluations and saves alone."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import yaml

from tests.trainer.engine.ranks import run_ranks
from trainer.checkpoints.pdfiles import read_arrays
from trainer.config.problems import ConfigError
from trainer.config.schedules import Cosine, Piecewise, Step
from trainer.config.sections import GlobalSection
from trainer.engine import saving as saving_module
from trainer.engine import step as step_module
from trainer.engine import train as train_module
from trainer.engine.time_budget import EpochCost, fit_epochs
from trainer.optim.schedules import Shortenable, build_schedule

STEPS = 4  # of an epoch: 15 images in batches of 4
COSINE = {"name": "Cosine", "learning_rate": 0.01, "warmup_epoch": 2}


def rows(workshop, event: str, output: str = "output") -> list[dict[str, Any]]:
    lines = (workshop.folder / output / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["event"] == event]


class Time:
    """Goes on by what the training does, and by nothing else."""

    def __init__(self, monkeypatch, *, step_s: float, eval_s: float, save_s: float) -> None:
        self.now_s = 1000.0
        for owner, name, seconds in (
            (step_module.Stepper, "step", step_s), (train_module.Training, "_measure", eval_s),
            (saving_module.Saver, "save", save_s),
        ):  # fmt: skip
            monkeypatch.setattr(owner, name, self._taking(getattr(owner, name), seconds))
        defaults = train_module.Training.__init__.__kwdefaults__
        monkeypatch.setitem(defaults, "clock", lambda: self.now_s)

    def _taking(self, real: Any, seconds: float) -> Any:
        def work(*args: Any, **keys: Any) -> Any:
            found = real(*args, **keys)
            self.now_s += seconds
            return found

        return work


def test_so_many_epochs_are_trained_as_fit_and_the_rate_comes_down_with_them(workshop, monkeypatch):
    time = Time(monkeypatch, step_s=1, eval_s=5, save_s=3)  # an epoch takes 12 s
    reached = workshop.train(Global__epochs=50, Global__time_budget="100s", Optimizer__lr=COSINE)
    assert reached.step == 7 * STEPS  # 84 s; an eighth epoch would leave less than the reserve
    assert time.now_s - 1000 == 84
    (row,) = rows(workshop, "time_budget")
    assert (row["epochs"], row["of_epochs"]) == (7, 50)
    rates = [row["lr"] for row in rows(workshop, "step")]
    assert max(rates) == pytest.approx(0.01, rel=0.05)  # the warm-up was run through
    assert rates[-1] < 0.1 * max(rates)
    assert np.abs(np.diff(rates)).max() < 0.3 * max(rates)


def test_all_epochs_are_trained_where_they_fit(workshop, monkeypatch, capsys):
    Time(monkeypatch, step_s=1, eval_s=0, save_s=0)
    plain = workshop.train(
        Global__epochs=8, Optimizer__lr=COSINE, Global__output_dir=str(workshop.folder / "plain")
    )
    reached = workshop.train(Global__epochs=8, Global__time_budget="1h", Optimizer__lr=COSINE)
    assert reached.step == plain.step == 8 * STEPS
    assert "all 8 epochs fit, nothing is shortened" in capsys.readouterr().out
    assert [row["lr"] for row in rows(workshop, "step")] == [
        row["lr"] for row in rows(workshop, "step", "plain")
    ]


LONG = {
    "DataLoader__Train__loader": {"num_workers": 0, "rng": "paddleclas"}, "Global__iter_per_epoch": 60,
    "Arch__dropout_prob": 0.0, "Global__epochs": 30, "Optimizer__lr": COSINE,
}  # fmt: skip


def test_where_hardly_an_epoch_fits_the_choice_comes_within_the_first(workshop, monkeypatch):
    Time(monkeypatch, step_s=1, eval_s=2, save_s=1)
    reached = workshop.train(**LONG, Global__time_budget="100s")
    assert reached.step == 60
    (row,) = rows(workshop, "time_budget")
    assert (row["epochs"], row["step"]) == (1, 23)
    rates = [row["lr"] for row in rows(workshop, "step")]
    assert rates[-1] < 0.1 * max(rates)
    assert len(rows(workshop, "eval")) == 1


def test_a_budget_that_cannot_hold_an_epoch_is_said_and_the_epoch_is_ended(workshop, monkeypatch, capsys):
    Time(monkeypatch, step_s=1, eval_s=2, save_s=1)
    assert workshop.train(**LONG, Global__time_budget="30s").step == 60
    out = capsys.readouterr().out
    assert "warning: time budget 30 s: an epoch takes" in out
    assert "the run ends after it; Global.iter_per_epoch makes an epoch shorter" in out
    assert "time budget 30 s: took 63 s" in out


def test_a_stopped_run_keeps_what_was_chosen_whatever_its_speed_is_then(workshop, monkeypatch):
    changes = {"Global__epochs": 50, "Global__time_budget": "100s", "Optimizer__lr": COSINE}
    Time(monkeypatch, step_s=1, eval_s=5, save_s=3)
    whole = workshop.train(**changes)
    halves = {**changes, "Global__output_dir": str(workshop.folder / "halves")}
    with monkeypatch.context() as patch:
        Time(patch, step_s=1, eval_s=5, save_s=3)
        workshop.train_and_stop(at=5 * STEPS + 1, **halves)
    Time(monkeypatch, step_s=50, eval_s=5, save_s=3)
    assert workshop.train(**halves, resume="latest").step == whole.step
    one, other = (read_arrays(workshop.folder / name / "latest.pdparams") for name in ("output", "halves"))
    for key, value in one.items():
        np.testing.assert_array_equal(value, other[key], err_msg=key)


def test_a_run_that_has_ended_so_is_not_gone_on_with_and_another_budget_chooses_anew(workshop, monkeypatch):
    Time(monkeypatch, step_s=1, eval_s=5, save_s=3)
    changes = {"Global__epochs": 50, "Optimizer__lr": COSINE}
    assert workshop.train(**changes, Global__time_budget="100s").step == 7 * STEPS
    assert workshop.train(**changes, Global__time_budget="100s", resume="latest").step == 7 * STEPS
    longer = workshop.train(**changes, Global__time_budget="160s", resume="latest")
    assert longer.step == 12 * STEPS  # 144 s, of which 84 s were spent


def test_an_evaluation_that_is_not_due_comes_where_the_end_is_chosen(workshop, monkeypatch):
    Time(monkeypatch, step_s=10, eval_s=1, save_s=1)
    workshop.train(Global__epochs=50, Global__time_budget="60s", Global__eval_interval=10)
    assert [row["epoch"] for row in rows(workshop, "eval")] == [1]
    assert rows(workshop, "time_budget")[0]["epochs"] == 1


@pytest.mark.parametrize("seed", range(20))
def test_the_epochs_that_fit_are_those_of_counting_them_up(seed):
    draws = np.random.default_rng(seed)
    run = GlobalSection(
        epochs=int(draws.integers(1, 40)), eval_interval=int(draws.integers(1, 5)),
        start_eval_epoch=int(draws.integers(0, 6)),
    )  # fmt: skip
    cost = EpochCost(train_s=draws.uniform(1, 9), eval_s=draws.uniform(0, 9), save_s=draws.uniform(0, 2))
    at, left_s = float(draws.uniform(0, run.epochs)), float(draws.uniform(0, 300))
    if seed % 2:
        at = float(math.floor(at))

    def takes(epochs: int) -> float:
        seconds = (epochs - at) * cost.train_s
        for completed in range(math.floor(at) + 1, epochs + 1):
            due = completed == epochs or completed % run.eval_interval == 0
            seconds += cost.save_s + (cost.eval_s if due and completed >= run.start_eval_epoch else 0)
        return seconds

    least = max(1, math.ceil(at))
    expected = max([least, *(n for n in range(least, run.epochs + 1) if takes(n) <= left_s)])
    found, more_s = fit_epochs(run, cost, evaluates=True, at=at, left_s=left_s)
    assert (found, more_s) == (expected, pytest.approx(takes(expected)))


@pytest.mark.parametrize(
    "spec",
    [
        Cosine(learning_rate=0.1, warmup_epoch=5), Cosine(learning_rate=0.1, warmup_epoch=5, by_epoch=True),
        Step(learning_rate=0.1, step_size=10, gamma=0.1),
        Piecewise(decay_epochs=(10, 20), values=(0.1, 0.01, 0.001)),
    ],
    ids=["cosine", "by epoch", "step", "piecewise"],
)  # fmt: skip
def test_a_shortened_schedule_goes_through_all_that_is_left(spec):
    whole = build_schedule(spec, epochs=30, steps_per_epoch=10)
    short = build_schedule(spec, epochs=30, steps_per_epoch=10)
    assert isinstance(short, Shortenable)
    short.shorten(epochs=8, of_epochs=30, at=2.5)
    assert [short(step) for step in range(26)] == [whole(step) for step in range(26)]
    for step in range(25, 80):  # 5.5 epochs for 27.5
        near = [whole(place) for place in range(25 + 5 * (step - 25) - 1, 25 + 5 * (step - 25) + 2)]
        assert min(near) <= short(step) <= max(near)


@pytest.mark.parametrize("text", ["2 hours", "0s", 7200, "", "-1h"])
def test_a_time_that_is_none_is_refused(workshop, text):
    with pytest.raises(ConfigError, match="time_budget: expected a duration from 1s, such as 90s"):
        workshop.config(Global__time_budget=text)


def test_two_ranks_end_after_the_same_epoch(workshop):
    """Real clocks, which never agree: rank 0 alone chooses, and evaluations are equal on all ranks."""
    document = workshop._document({
        "Global__epochs": 4000, "Global__time_budget": "3s", "EMA": {"decay": 1.0},
        "DataLoader__Train__sampler": {"batch_size": 2}, "DataLoader__Eval__sampler": {"batch_size": 3},
    })  # fmt: skip
    path = workshop.folder / "ranks.yaml"
    path.write_text(yaml.safe_dump(document))
    run_ranks(2, "-m", "trainer", "train", "-c", str(path))
    (row,) = rows(workshop, "time_budget")
    assert 1 <= row["epochs"] < 4000
    assert [found["epoch"] for found in rows(workshop, "epoch")] == list(range(1, row["epochs"] + 1))

    stopping = ["Global.early_stopping={'metric': 'ema_loss', 'patience': 1}", "Global.time_budget=1d"]
    changes = [part for change in stopping for part in ("-o", change)]
    run_ranks(2, "-m", "trainer", "train", "-c", str(path), *changes, "--overwrite")
    assert [found["epoch"] for found in rows(workshop, "early_stopping")] == [2]
