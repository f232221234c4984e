"""A study of the quick start's digits with real jobs: what `make quickstart-sweep` types, made small."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import REPOSITORY

RATE, BATCH = "Optimizer.lr.learning_rate", "DataLoader.Train.sampler.batch_size"
SMALL = ("Arch.name=PPLCNet_x0_25", "Global.epochs=6", "Global.iter_per_epoch=15")
"""Epochs of some seconds: of shorter ones a trial has had all before its driver looks at it."""
GOOD, BAD = 0.01, 0.4


@pytest.fixture
def digits(place):
    place.run("python", str(REPOSITORY / "examples/digits.py"), "images", ".quickstart/digits")
    place.run("trainer", "make-lists", ".quickstart/digits")
    return place


@pytest.mark.timeout(1200)
def test_a_pruned_trial_that_is_resumed_ends_in_the_bits_of_one_that_nobody_stopped(digits):
    small = [part for text in SMALL for part in ("-o", text)]
    done = digits.run(
        "ftlaunch", "sweep", str(REPOSITORY / "examples/quickstart-sweep.yaml"), "--on", "local",
        "--name", "few", "--over", f"{RATE}=[{GOOD},{BAD}]", "--over", f"{BATCH}=[64]", "--metric", "loss",
        "--parallel", "1", "--prune", "asha", *small, timeout_s=600,
    )  # fmt: skip
    assert "the first trial is the best: loss " in " ".join(done.stderr.split())
    assert "epochs trained: " in done.stderr
    assert (digits.folder / "state/sweeps/few/sweep.html").is_file()
    study = json.loads(digits.run("ftlaunch", "status", "few", "--output", "json").stdout)
    first, second = study["trials"]
    assert (first["state"], first["params"][RATE]) == ("complete", GOOD)
    assert (second["state"], second["params"][RATE], second["pruned_at"]) == ("pruned", BAD, 1)
    output = ".quickstart/output/quickstart"
    assert max(row["epoch"] for row in evaluations(digits, f"{output}/few/t002")) < 6

    digits.run("ftlaunch", "resume", "few-t002")
    digits.run("ftlaunch", "wait", "few-t002", "--timeout", "300s", timeout_s=400)
    digits.run(
        "ftlaunch", "submit", str(REPOSITORY / "examples/quickstart.yaml"), "--on", "local",
        "--name", "whole", "--wait", *small, "-o", f"{RATE}={BAD}", "-o", "Global.output_dir=/output/whole",
        timeout_s=600,
    )  # fmt: skip
    resumed, whole = (f"{output}/few/t002", ".quickstart/output/whole")
    for name in ("latest.pdparams", "latest.pdopt", "best_model.pdparams"):
        one, other = ((digits.folder / folder / name).read_bytes() for folder in (resumed, whole))
        assert one == other, name
    assert [row["loss"] for row in evaluations(digits, resumed)] == [
        row["loss"] for row in evaluations(digits, whole)
    ]


def evaluations(place, output):
    return [row for row in place.rows(output) if row["event"] == "eval"]
