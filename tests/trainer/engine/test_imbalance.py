"""Trainings that weigh classes, or take them equally often: as said, over ranks and a resumption."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import yaml

from tests.trainer.engine.ranks import run_ranks
from trainer.checkpoints.pdfiles import read_arrays

STEADY = {
    "Arch": {
        "name": "PPLCNet_x0_25",
        "class_num": 3,
        "dropout_prob": 0.0,
        "class_expand": 64,
        "freeze_norm_stats": True,
    },
    "Global__iter_per_epoch": 3,
}


@pytest.fixture
def uneven(workshop: Any) -> Any:
    lines = (workshop.folder / "train.txt").read_text().splitlines(keepends=True)
    kept = [line for k, line in enumerate(lines) if k % 3 == 0 or k < 6]
    (workshop.folder / "train.txt").write_text("".join([*kept, *lines[3::3], *lines[6::3]]))
    return workshop


def steps(workshop: Any, output: str, event: str = "step") -> list[dict[str, Any]]:
    lines = (workshop.folder / output / "metrics.jsonl").read_text().splitlines()
    return [row for line in lines if (row := json.loads(line))["event"] == event]


def test_two_ranks_with_half_the_batch_train_as_one(uneven: Any) -> None:
    def with_batch(size: int, output: str) -> dict[str, Any]:
        return {
            **STEADY, "Loss__Train": [{"CELoss": {"class_weight": "auto"}}],
            "DataLoader__Train__sampler": {"name": "ClassBalancedSampler", "batch_size": size},
            "Global__output_dir": str(uneven.folder / output),
        }  # fmt: skip

    uneven.train(**with_batch(4, "alone"))
    (uneven.folder / "together.yaml").write_text(yaml.safe_dump(uneven._document(with_batch(2, "together"))))
    run_ranks(2, "-m", "trainer", "train", "-c", str(uneven.folder / "together.yaml"))
    for one, both in zip(steps(uneven, "alone"), steps(uneven, "together"), strict=True):
        assert both["loss"] == pytest.approx(one["loss"], rel=1e-4)
    mine, theirs = (read_arrays(uneven.folder / of / "latest.pdparams") for of in ("alone", "together"))
    for key, value in mine.items():
        np.testing.assert_allclose(theirs[key], value, rtol=1e-4, atol=1e-6, err_msg=key)


def test_weights_change_what_is_trained_and_not_what_is_evaluated(uneven: Any) -> None:
    both = {"Loss__Eval": None, "Global__epochs": 1, "Global__iter_per_epoch": 2}
    uneven.train(**both, Loss__Train=[{"CELoss": {"class_weight": "auto"}}])
    uneven.train(
        **both, Loss__Train=[{"CELoss": {}}], Global__output_dir=str(uneven.folder / "plain"),
        Optimizer__lr={"learning_rate": 0.0},
    )  # fmt: skip
    log = (uneven.folder / "output/train.log").read_text()
    assert "CELoss.class_weight: auto: class 0 " in log
    weighted, plain = (steps(uneven, name)[0]["loss"] for name in ("output", "plain"))
    assert weighted != plain
    uneven.train(
        **both, Loss__Train=[{"CELoss": {"class_weight": [9.0, 9.0, 9.0]}}],
        Global__output_dir=str(uneven.folder / "nine"), Optimizer__lr={"learning_rate": 0.0},
    )  # fmt: skip
    assert steps(uneven, "nine")[0]["loss"] == pytest.approx(9 * plain, rel=1e-5)
    nine, without = (steps(uneven, name, "eval")[0]["loss"] for name in ("nine", "plain"))
    assert nine == pytest.approx(without, rel=1e-6)


def test_a_balanced_epoch_goes_on_bit_for_bit(uneven: Any) -> None:
    changes: dict[str, Any] = {
        "DataLoader__Train__sampler": {"name": "ClassBalancedSampler", "batch_size": 4},
        "Loss__Train": [{"FocalLoss": {}}],
    }
    uneven.train(**changes)
    halves = {**changes, "Global__output_dir": str(uneven.folder / "halves")}
    uneven.train_and_stop(at=3, **halves)
    uneven.train(**halves, resume="latest")
    whole, again = (read_arrays(uneven.folder / of / "latest.pdparams") for of in ("output", "halves"))
    assert all(np.array_equal(whole[key], again[key]) for key in whole)
