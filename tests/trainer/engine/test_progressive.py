"""A training whose images grow: what the network sees, and going on in the middle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from paddle import nn

from trainer.checkpoints.pdfiles import read_arrays
from trainer.data.loader import Loader
from trainer.engine.step import Stepper
from trainer.models.stages import set_stage
from trainer.ranks import Ranks

OPS = [
    {"DecodeImage": {}}, {"RandCropImage": {"size": 32, "progress_size": [16, 20, 24, 32]}},
    {"RandAugmentV2": {"progress_magnitude": [2, 4, 6, 8]}}, {"NormalizeImage": {"order": ""}},
]  # fmt: skip
GROWING = {
    "Global__train_mode": "progressive", "Global__epochs": 4, "Global__deterministic": True,
    "DataLoader__Train__dataset__transform_ops": OPS,
}  # fmt: skip


def test_each_quarter_of_the_epochs_has_its_size(workshop, monkeypatch):
    seen: list[tuple[int, ...]] = []
    real = Stepper.step

    def step(stepper: Stepper, batch: Any, *, step: int) -> Any:
        seen.append(batch.images.shape[2:])
        return real(stepper, batch, step=step)

    monkeypatch.setattr(Stepper, "step", step)
    workshop.train(**GROWING)
    steps = len(seen) // 4
    assert seen == [(side, side) for side in (16, 20, 24, 32) for _ in range(steps)]
    assert "[Train]stage 3 of 4" in (workshop.folder / "output/train.log").read_text()


@pytest.mark.parametrize("at", [3, 6])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(workshop, at):
    whole = str(workshop.folder / "whole")
    workshop.train(**GROWING, Global__output_dir=whole)
    workshop.train_and_stop(at=at, **GROWING)
    workshop.train(resume="latest", **GROWING)
    first, second = (read_arrays(workshop.folder / name / "latest.pdparams") for name in ("whole", "output"))
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_a_loader_without_epochs_keeps_its_size(workshop):
    config = workshop.config(**GROWING)
    from trainer.engine.setup import prepare

    samples = prepare(config, Ranks()).train
    given: Any = {"split": config.data.Train, "samples": samples, "rank": 0, "world_size": 1, "seed": 1}
    plain = Loader(**given, training=True)
    assert next(plain.batches(3)).images.shape[2:] == (32, 32)
    growing = Loader(**given, training=True, epochs=8)
    assert [next(growing.batches(epoch)).images.shape[2] for epoch in range(0, 8, 2)] == [16, 20, 24, 32]


class Head(nn.Layer):
    """As EfficientNetV2's."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout_rate = [0.0, 0.1, 0.2, 0.3]
        self._dropout = nn.Dropout(0.5)


def test_a_head_with_a_rate_for_each_stage_takes_it():
    model = nn.Sequential(nn.Linear(2, 2), Head())
    assert [set_stage(model, stage) for stage in range(4)] == [0.0, 0.1, 0.2, 0.3]
    assert model[1]._dropout.p == 0.3
    assert set_stage(nn.Sequential(nn.Dropout(0.5)), 1) is None
