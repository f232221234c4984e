"""Fewer ranks than a job has train to its weights: the same global batches, in several parts each."""

from __future__ import annotations

from typing import Any

import numpy as np
import yaml

from tests.trainer.engine.ranks import run_ranks
from trainer.checkpoints.pdfiles import read_arrays
from trainer.ranks import Ranks, read_ranks

JOB = 3


def changes(workshop: Any, output: str) -> dict[str, Any]:
    return {
        "Global__output_dir": str(workshop.folder / output), "Global__epochs": 1, "Global__update_freq": 2,
        "Global__eval_during_train": False, "DataLoader__Train__sampler": {"batch_size": 1, "shuffle": True},
        # Statistics of a batch are those of its part, whoever has it.
        "Arch": {"name": "PPLCNet_x0_25", "class_num": 3, "dropout_prob": 0.5, "class_expand": 64},
        "DataLoader__Train__dataset__batch_transform_ops": [{"MixupOperator": {"alpha": 0.2}}],
    }  # fmt: skip


def test_two_ranks_of_three_come_to_the_weights_of_three(workshop: Any) -> None:
    def train(output: str, count: int, **variables: str) -> dict[str, Any]:
        path = workshop.folder / f"{output}.yaml"
        path.write_text(yaml.safe_dump(workshop._document(changes(workshop, output))))
        run_ranks(count, "-m", "trainer", "train", "-c", str(path), **variables)
        found: dict[str, Any] = dict(read_arrays(workshop.folder / output / "latest.pdparams"))
        return found

    whole, fewer = train("whole", JOB), train("fewer", 2, FTL_SHARDS=str(JOB))
    trained = [key for key in whole if not key.endswith(("._mean", "._variance"))]
    assert trained
    for key in trained:
        np.testing.assert_allclose(fewer[key], whole[key], rtol=1e-3, atol=1e-5, err_msg=key)


def test_a_rank_knows_into_how_many_parts_a_batch_is_cut() -> None:
    environ = {"PADDLE_TRAINER_ID": "1", "PADDLE_TRAINERS_NUM": "2"}
    assert read_ranks(environ).shards == 2
    assert read_ranks({**environ, "FTL_SHARDS": "5"}).shards == 5
    assert Ranks().shards == 1
