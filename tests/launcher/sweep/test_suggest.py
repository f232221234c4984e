"""What `sweep suggest` proposes, and that it is a study that can be begun."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from launcher.errors import UsageError
from launcher.jobs.options import SubmitOptions
from launcher.sweep.begin import SweepRequest, plan_study, read_request
from launcher.sweep.suggest import format_suggestion, suggest
from tests.launcher.configs import config_values
from trainer.config.problems import ConfigError


@pytest.fixture
def config(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-settings"))
    monkeypatch.chdir(tmp_path)
    values = config_values(Global__epochs=20)
    values["Metric"] = {"Eval": [{"TopkAcc": {"topk": [1]}}]}
    Path("cfg.yaml").write_text(yaml.safe_dump(values))
    return Path("cfg.yaml")


def test_what_is_proposed_can_be_begun(config):
    Path("sweep.yaml").write_text(format_suggestion(suggest(config, SubmitOptions())))
    request = read_request(Path("sweep.yaml"), SweepRequest(config=Path("sweep.yaml"), over=()))
    assert request.over == (
        "Optimizer.lr.learning_rate=log(0.01, 0.4)",
        "image_size=[32, 48]",
        "Loss.Train.0.CELoss.epsilon=[None, 0.1]",
    )
    planned = plan_study(request)
    assert (planned.settings.prune, planned.settings.trials, planned.settings.metric) == ("asha", 8, "top1")
    assert planned.settings.first == {
        "Optimizer.lr.learning_rate": 0.1, "image_size": 32, "Loss.Train.0.CELoss.epsilon": None,
    }  # fmt: skip


def test_changes_of_the_config_count(config):
    found = suggest(config, SubmitOptions(overrides=("Optimizer.lr.learning_rate=0.02", "Global.epochs=3")))
    assert found.over[0][:2] == ("Optimizer.lr.learning_rate", "log(0.002, 0.08)")
    assert found.prune == "none"


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ("Optimizer.lr.learning_rat=[0.1]", "expected a key that the config or PaddleClas knows"),
        ("Optimizer.lr.learning_rate=[fast, 0.1]", "expected a number, got 'fast'"),
        ("Optimizer.lr.learning_rate=[-1, fast]", "got 'fast'"),
        ("folds=3", "DataLoader.Eval.dataset.cls_label_path: expected a list, for `folds`"),
        ("Global.output_dir=[/output/a,/output/b]", "each trial has its own"),
    ],
)
def test_a_value_that_the_config_refuses_is_refused_before_anything_is_made(config, over, said, tmp_path):
    with pytest.raises((ConfigError, UsageError)) as caught:
        plan_study(SweepRequest(config=config, over=(over,)))
    assert said in str(caught.value)
    assert not (tmp_path / "state" / "sweeps").exists()


def test_numbers_that_a_record_cannot_hold_are_refused_all_at_once(config):
    asked = SweepRequest(
        config=config, over=("seed=1",), trials=100_001, parallel=10_001, per_gpu=65, seed=-1
    )  # fmt: skip
    with pytest.raises(UsageError) as caught:
        plan_study(asked)
    assert {(issue.where, issue.expected) for issue in caught.value.problems} == {
        ("--trials", "a number from 1 to 100000"), ("--parallel", "a number from 1 to 10000"),
        ("--per-gpu", "a number from 1 to 64"), ("--sweep-seed", f"a number from 0 to {2**53 - 1}"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("Sweep: {over: {image_size: [32]}, config: cfg.yaml, trails: 3}", "did you mean"),
        (
            "Sweep: {over: {image_size: [32]}, config: cfg.yaml, prune: hard}",
            "expected one of asha, median, none",
        ),
        (
            "Sweep: {over: {image_size: [32]}, config: cfg.yaml, trials: many}",
            "expected a whole number, got 'many'",
        ),
        ("Sweep: {config: cfg.yaml}", "expected over: what is varied"),
        ("Sweep: {over: {image_size: [32]}}", "expected config: the file that is trained with"),
        ("Sweep: [1]", "expected a mapping"),
    ],
)
def test_a_section_that_cannot_be_is_refused_with_its_line(section, said, config):
    Path("sweep.yaml").write_text(section)
    with pytest.raises(ConfigError, match=r"sweep.yaml:1:") as caught:
        read_request(Path("sweep.yaml"), SweepRequest(config=Path("sweep.yaml"), over=()))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("proposal", "guess", "said"),
    [
        (0.02, 0.5, "log(0.002, 0.08) # around 0.02, what `trainer lr-find` found"),
        (None, 0.005, "log(0.0005, 0.05) # around 0.005, a third of the rate from which the loss grows in"),
    ],
)  # fmt: skip
def test_rates_lie_around_what_was_measured_or_else_around_the_guess(
    config, monkeypatch, proposal, guess, said
):
    ran = []

    def run(argv, **_):
        ran.append(argv)
        return subprocess.CompletedProcess(argv, 0, json.dumps({"proposal": proposal, "guess": guess}), "")

    monkeypatch.setattr("launcher.sweep.suggest.subprocess.run", run)
    text = format_suggestion(suggest(config, SubmitOptions(overrides=("Global.epochs=9",)), measures=True))
    assert said in " ".join(text.split())
    assert ran[0][-6:] == ["-c", "cfg.yaml", "--output", "json", "-o", "Global.epochs=9"]


def test_a_curve_that_tells_nothing_proposes_no_study(config, monkeypatch):
    done = subprocess.CompletedProcess([], 0, json.dumps({"proposal": None, "guess": None}), "it is flat")
    monkeypatch.setattr("launcher.sweep.suggest.subprocess.run", lambda *_, **__: done)
    with pytest.raises(UsageError, match=r"expected a rate from `trainer lr-find`.*it is flat"):
        suggest(config, SubmitOptions(), measures=True)
