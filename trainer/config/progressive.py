"""Training whose images grow with the epochs: `Global.train_mode: progressive`.

Source: PaddleClas 4fdcda7, ppcls/engine/train/train_progressive.py: four stages of as many epochs, each with
a size for RandCropImage and a magnitude for RandAugmentV2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainer.config.declaration import Declaration
from trainer.config.ops_base import STAGES
from trainer.config.problems import KeyPath
from trainer.config.root import TrainConfig

PROGRESSIVE = "progressive"
_KEYS = {"progress_size": "size", "progress_magnitude": "magnitude"}
_OPS: KeyPath = ("DataLoader", "Train", "dataset", "transform_ops")


def is_progressive(config: TrainConfig) -> bool:
    """Tell whether images grow."""
    return config.run.train_mode == PROGRESSIVE


def stage_of(epoch: int, *, epochs: int) -> int:
    """Return the stage of an epoch.

    Args:
        epoch: From 0.
        epochs: Of the whole training.
    """
    return sum(epoch + 1 > epochs * (stage + 1) // STAGES for stage in range(STAGES))


def of_stage(ops: Sequence[Declaration], stage: int) -> list[Declaration]:
    """Return the operations as they are in a stage."""
    return [_of_stage(op, stage) for op in ops]


def _of_stage(op: Declaration, stage: int) -> Declaration:
    changes = {
        own: values[stage] for key, own in _KEYS.items() if (values := getattr(op, key, None)) is not None
    }
    return op.model_copy(update=changes) if changes else op


def find_growing(config: TrainConfig) -> list[KeyPath]:
    """Return the places of what is given for the stages."""
    ops = config.data.Train.dataset.transform_ops
    return [
        (*_OPS, index, op.label, key)
        for index, op in enumerate(ops)
        for key in _KEYS
        if getattr(op, key, None) is not None
    ]


def find_growing_disagreements(config: TrainConfig) -> Iterator[tuple[KeyPath, str]]:
    """Yield the place and the sentence of each."""
    if not is_progressive(config):
        return
    train = config.data.Train
    if not find_growing(config):
        yield (
            ("Global", "train_mode"),
            f"expected progress_size of RandCropImage, {STAGES} sizes, in DataLoader.Train beside "
            "'progressive', got none; add it, or remove train_mode",
        )
    if train.sampler.label == "MultiScaleSampler":
        yield (
            ("DataLoader", "Train", "sampler"),
            "expected another sampler than MultiScaleSampler, which sets sizes too, beside "
            "Global.train_mode: progressive",
        )
    if train.loader.rng == "paddleclas":
        yield (
            ("DataLoader", "Train", "loader", "rng"),
            "expected per_sample beside Global.train_mode: progressive, which would start the stream anew",
        )
