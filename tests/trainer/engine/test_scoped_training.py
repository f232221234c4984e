"""A training with several optimizers: what is moved, saved, and gone on with."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import paddle
import pytest

from trainer.config.problems import ConfigError
from trainer.engine.model_check import check_model
from trainer.errors import CheckpointError
from trainer.models.weights_store import OFFLINE

COSINE = {"name": "Cosine", "learning_rate": 0.01, "warmup_epoch": 1}
SEVERAL = [
    {"Momentum": {"scope": "blocks6", "lr": COSINE, "regularizer": {"name": "L2", "coeff": 0.001}}},
    {"AdamW": {"scope": "fc", "lr": {"learning_rate": 0.003}, "weight_decay": 0.01}},
]


def rows(workshop: Any, output: str) -> list[dict[str, Any]]:
    lines = (workshop.folder / output / "metrics.jsonl").read_text().splitlines()
    return [row for line in lines if (row := json.loads(line))["event"] == "step"]


def load(workshop: Any, path: str) -> list[dict[str, Any]]:
    found = paddle.load(str(workshop.folder / path))
    return found if isinstance(found, list) else [found]


def test_several_optimizers_go_on_bit_for_bit_and_are_saved_as_paddleclas_does(workshop):
    workshop.train(Optimizer=SEVERAL)
    whole = load(workshop, "output/latest.pdopt")
    assert [table["LR_Scheduler"]["last_epoch"] for table in whole] == [8, 8]
    kinds = [{re.sub(r".*[wb]_\d+_", "", key) for key in table if key != "LR_Scheduler"} for table in whole]
    assert kinds[0] == {"velocity_0"}
    assert kinds[1] >= {"moment1_0", "moment2_0"}
    halves: dict[str, Any] = {"Optimizer": SEVERAL, "Global__output_dir": str(workshop.folder / "halves")}
    workshop.train_and_stop(at=5, **halves)
    workshop.train(**halves, resume="latest")
    for ending in ("pdparams", "pdopt"):
        one, other = (load(workshop, f"{name}/latest.{ending}") for name in ("output", "halves"))
        for mine, theirs in zip(one, other, strict=True):
            assert mine.keys() == theirs.keys()
            for key in mine.keys() - {"LR_Scheduler", "StructuredToParameterName@@"}:
                np.testing.assert_array_equal(mine[key].numpy(), theirs[key].numpy(), err_msg=key)
    assert [row["lr_1"] for row in rows(workshop, "halves")] == [0.003] * 8
    assert [row["lr"] for row in rows(workshop, "halves")] == [row["lr"] for row in rows(workshop, "output")]

    with pytest.raises(CheckpointError, match="expected the state of 1 optimizers, got 2"):
        workshop.train(Global__epochs=3, resume="latest")


def test_what_is_in_no_scope_stays_as_it_was(workshop):
    workshop.train(Optimizer=SEVERAL, Global__epochs=1)
    (first,) = load(workshop, "output/latest.pdparams")
    workshop.train(Optimizer=SEVERAL, Global__epochs=2, resume="latest")
    (second,) = load(workshop, "output/latest.pdparams")
    trained = {key for key in first if key.endswith((".weight", ".bias")) and "@@" not in key}
    moved = {key for key in trained if (first[key] != second[key]).any().item()}
    assert moved
    assert {key.split(".")[0] for key in moved} == {"blocks6", "fc"}


def test_a_scope_that_is_no_layer_is_refused_by_the_check_of_the_model(workshop):
    wrong = [{"SGD": {"scope": "head", "lr": {"learning_rate": 0.1}}}]
    with pytest.raises(ConfigError, match=r"Optimizer\.0\.SGD\.scope: expected a scope with parameters"):
        check_model(workshop.config(Optimizer=wrong), OFFLINE)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"Momentun": {}}, r"Optimizer\.1: expected one of .*, got 'Momentun'; did you mean 'Momentum'"),
        ({"SGD": {"scope": "fc", "lr": {"learning_rate": -1}}}, r"Optimizer\.1\.SGD\.lr\.learning_rate: exp"),
        ({"SGD": {"lr": {"learning_rate": 0.1}, "momentum": 1}}, r"Optimizer\.1\.SGD\.momentum: expected a"),
        (
            {"SGD": {"lr": {"name": "ReduceOnPlateau", "learning_rate": 0.1, "by_epoch": True}}},
            r"Optimizer\.1\.SGD\.lr\.name: expected a function of the step in a list of optimizers",
        ),
    ],
)  # fmt: skip
def test_a_list_is_refused_at_its_places(workshop, change, says):
    with pytest.raises(ConfigError, match=says):
        workshop.config(Optimizer=[SEVERAL[0], change])
