"""The checks for GPUs are proven on a CPU, as far as one goes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_check
from benchmarks.gpu_check import CHECKS, NAMES, NO_GPU, Check, hold, main, run_checks, write_config
from trainer.config.load import load_config


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("of", ["changes", "against"])
def test_every_check_asks_for_what_a_config_takes(check: Check, of: str, tmp_path: Path) -> None:
    loaded = load_config(write_config(tmp_path, getattr(check, of), device="gpu", output="a"), strict=True)
    assert loaded.config.run.epochs == 1


def test_losses_are_held_step_by_step() -> None:
    assert hold([1.0, 2.0], [1.0, 2.001], 1e-3)[0]
    assert not hold([1.0, 2.0], [1.0, 2.01], 1e-3)[0]
    assert not hold([1.0, math.nan], [1.0, 2.0], 1e9)[0]
    assert not hold([1.0], [1.0, 2.0], 1e9)[0]
    assert not hold([], [], 1e9)[0]


def test_without_a_gpu_the_checks_are_listed_and_none_has_passed(monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setattr(gpu_check, "count_gpus", lambda: 0)
    assert main(["--output", str(tmp_path / "report")]) == NO_GPU
    said = capsys.readouterr().out
    assert all(f"  {name}" in said for name in NAMES)
    assert "passed" not in said
    assert not (tmp_path / "report").exists()


def test_a_check_runs_on_a_cpu_and_what_it_cannot_do_is_named(tmp_path, capsys) -> None:
    names = ["host-reads", "nccl", "throughput-of-two"]
    assert main(["--device", "cpu", "--output", str(tmp_path), "--only", *names]) == 0
    found = {one["name"]: one for one in json.loads((tmp_path / "report.json").read_text())["checks"]}
    assert found["host-reads"]["result"] == "passed"
    assert "in 8 steps" in found["host-reads"]["found"]
    assert (found["nccl"]["result"], found["nccl"]["found"]) == ("not run", "needs a GPU")
    assert found["throughput-of-two"]["found"] == "needs a GPU"
    assert "| host-reads |" in (tmp_path / "report.md").read_text()


def test_other_losses_fail_a_check_and_the_whole(monkeypatch, tmp_path) -> None:
    def train(folder: Path, changes: Any, *, output: str, **_: Any) -> list[float]:
        return [1.0, 1.0 if output.endswith("reference") else 1.1]

    monkeypatch.setattr(gpu_check, "train", train)
    assert main(["--device", "cpu", "--output", str(tmp_path), "--only", "float32"]) == 1
    monkeypatch.setattr(gpu_check, "train", lambda *_, **__: [1.0])
    assert main(["--device", "cpu", "--output", str(tmp_path), "--only", "float32"]) == 0


def test_checks_of_more_devices_than_there_are_are_not_run() -> None:
    outcomes = {one.name: one for one in run_checks(["nccl"], device="gpu", gpus=1)}
    assert (outcomes["nccl"].result, outcomes["nccl"].found) == ("not run", "needs 2 GPUs, there is 1")


def test_two_ranks_are_held_against_the_pace_of_one(monkeypatch, tmp_path) -> None:
    took_s = {1: 0.1, 2: 0.105}
    monkeypatch.setattr(gpu_check, "measure_step_s", lambda *_, ranks=1, **__: took_s[ranks])
    assert gpu_check.scaling(tmp_path, "gpu") == (True, "0.95 of one rank's pace a rank, expected 0.9")
    took_s[2] = 0.12
    assert not gpu_check.scaling(tmp_path, "gpu")[0]
    (outcome,) = run_checks(["throughput-of-two"], device="gpu", gpus=1)
    assert (outcome.result, outcome.found) == ("not run", "needs 2 GPUs, there is 1")
