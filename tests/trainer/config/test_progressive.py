"""Images that grow with the epochs: which stage, and what goes together."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.config.pipeline import of_stage, stage_of

CROP, GROWING = (
    "RandCropImage: {size: 224}",
    "RandCropImage: {size: 224, progress_size: [160, 192, 224, 256]}",
)
SAMPLER = "{name: DistributedBatchSampler, batch_size: 16, drop_last: False, shuffle: True}"
SCALED = "{name: MultiScaleSampler, scales: [160, 192], first_bs: 8}"


def paddleclas_stage(epoch_id: int, epochs: int) -> int:
    """As train_progressive.py says it, of an epoch from 1."""
    stones = [int(epochs * ((number + 1) / 4)) for number in range(4)]
    stage = 0
    for number in range(4):
        if epoch_id > stones[number]:
            stage = number + 1
    return stage


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 5, 7, 10, 350])
def test_stages_are_those_of_paddleclas(epochs: int) -> None:
    stages = [stage_of(epoch, epochs=epochs) for epoch in range(epochs)]
    assert stages == [paddleclas_stage(epoch + 1, epochs) for epoch in range(epochs)]
    assert stages == sorted(stages)
    assert stages[-1] == 3


def progressive(config: Any) -> Any:
    return config.change("epochs: 2", "epochs: 8\n  train_mode: progressive")


def test_operations_take_what_their_stage_says(config: Any) -> None:
    augment = "        - RandAugmentV2: {progress_magnitude: [5, 8, 9, 10]}\n"
    progressive(config).change(CROP, f"{GROWING}\n{augment.rstrip()}")
    ops: Any = config.load().config.data.Train.dataset.transform_ops
    for stage, (side, magnitude) in enumerate(((160, 5), (192, 8), (224, 9), (256, 10))):
        staged: Any = of_stage(ops, stage)
        assert (staged[1].size, staged[2].magnitude) == ((side, side), magnitude)
        assert staged[0] is ops[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ((), "Global.train_mode: expected progress_size of RandCropImage, 4 sizes"),
        (((CROP, GROWING), (SAMPLER, SCALED), ("ImageNetDataset", "MultiScaleDataset")),
         "sampler: expected another sampler than MultiScaleSampler"),
        (((CROP, GROWING), ("num_workers: 4", "num_workers: 0, rng: paddleclas")),
         "rng: expected per_sample beside Global.train_mode: progressive"),
        (((CROP, GROWING), ("ResNet50_vd", "HRNet_W18_C"), ("256]", "250]")),
         "RandCropImage.progress_size.3: expected sides that are multiples of 32"),
    ],
    ids=["nothing grows", "scales", "stream", "a size that the network refuses"],
)  # fmt: skip
def test_what_does_not_go_with_it_is_refused(changes: Any, message: str, config: Any) -> None:
    progressive(config)
    for old, new in changes:
        config.change(old, new)
    assert message in config.refusal()


def test_sizes_without_the_mode_are_warned_of(config: Any) -> None:
    (warning,) = config.change(CROP, GROWING).warnings()
    assert "progress_size: expected Global.train_mode: progressive beside it" in warning


def test_another_mode_is_refused(config: Any) -> None:
    config.change("epochs: 2", "epochs: 2\n  train_mode: fixmatch")
    assert "expected progressive or none, got 'fixmatch'" in config.refusal()
