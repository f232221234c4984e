"""Two ranks with half the batch train a student by two optimizers, and keep its average, as one rank does."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import yaml

from tests.trainer.engine.ranks import run_ranks
from trainer.checkpoints.pdfiles import read_arrays

SMALL = {"name": "PPLCNet_x0_25", "class_num": 3, "dropout_prob": 0.0, "class_expand": 64}
PAIR = {"model_name_pairs": [["Student", "Teacher"]], "weight": 1.0}


def changes(workshop: Any, output: str, *, batch: int) -> dict[str, Any]:
    before = str(workshop.folder / "before")
    networks = [
        {name: {**SMALL, "return_patterns": ["blocks6"], "pretrained": f"{before}/epoch_{epoch}.pdparams"}}
        for name, epoch in (("Teacher", 2), ("Student", 1))
    ]
    return {
        "Global__output_dir": str(workshop.folder / output), "Global__iter_per_epoch": 3,
        "EMA": {"decay": 0.6},
        "Arch": {
            "name": "DistillationModel", "class_num": 3, "freeze_params_list": [True, False],
            "models": networks, "freeze_norm_stats": True,
        },
        "Loss__Train": [
            {"DistillationDMLLoss": PAIR},
            {"DistillationGTCELoss": {"model_names": ["Student"], "weight": 1.0}},
            {"DistillationPairLoss": {
                **PAIR, "base_loss_name": "PEFDLoss", "s_key": "blocks6", "t_key": "blocks6",
                "student_channel": 128, "teacher_channel": 128,
            }},
        ],
        "Optimizer": [
            {"Momentum": {"scope": "Student", "lr": {"learning_rate": 0.1}}},
            {"AdamW": {"scope": "PEFDLoss", "lr": {"learning_rate": 0.01}}},
        ],
        "Metric__Train": [{"DistillationTopkAcc": {"model_key": "Student", "topk": 1}}],
        "DataLoader__Train__sampler": {"batch_size": batch, "shuffle": False},
        "DataLoader__Eval__sampler": {"batch_size": 5},
    }  # fmt: skip


def rows(workshop: Any, output: str, event: str) -> list[dict[str, Any]]:
    lines = (workshop.folder / output / "metrics.jsonl").read_text().splitlines()
    return [row for line in lines if (row := json.loads(line))["event"] == event]


def test_two_ranks_with_half_the_batch_have_the_weights_and_the_average_of_one(workshop):
    workshop.train(Arch=SMALL, Global__output_dir=str(workshop.folder / "before"))
    workshop.train(**changes(workshop, "alone", batch=4))
    (workshop.folder / "together.yaml").write_text(
        yaml.safe_dump(workshop._document(changes(workshop, "together", batch=2)))
    )
    run_ranks(2, "-m", "trainer", "train", "-c", str(workshop.folder / "together.yaml"))
    for name in ("latest.pdparams", "latest.pdema", "best_model_student.pdparams"):
        alone, together = (read_arrays(workshop.folder / of / name) for of in ("alone", "together"))
        for key, value in alone.items():
            np.testing.assert_allclose(together[key], value, rtol=1e-4, atol=1e-6, err_msg=f"{name} {key}")
    first, last = (
        read_arrays(workshop.folder / f"alone/epoch_{epoch}.pdema")["loss_func.2.projectors.0.conv.weight"]
        for epoch in (1, 2)
    )
    assert not np.allclose(first, last, atol=1e-6)
    average, trained = (
        read_arrays(workshop.folder / "together" / f"latest.{ending}") for ending in ("pdparams", "pdema")
    )
    assert not np.allclose(average["Student.fc.weight"], trained["Student.fc.weight"], atol=1e-6)
    for event in ("step", "eval"):
        for one, both in zip(rows(workshop, "alone", event), rows(workshop, "together", event), strict=True):
            for key in ("loss", "DMLLoss_Student_Teacher_0", "CELoss_Student", "CELoss", "ema_loss"):
                if key in one:
                    np.testing.assert_allclose(both[key], one[key], rtol=1e-4, atol=1e-6)
            for key in ("top1", "ema_top1"):
                assert both.get(key) == one.get(key)
