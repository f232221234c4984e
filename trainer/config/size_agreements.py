"""Whether the images that a config makes have a size that its networks take."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.archs import DistillationArch
from trainer.config.chains import find_size
from trainer.config.data import MultiScaleDataset
from trainer.config.declaration import Declaration
from trainer.config.ops_base import STAGES, Pixels
from trainer.config.problems import KeyPath
from trainer.config.progressive import is_progressive, of_stage
from trainer.config.root import TrainConfig


def find_refused_sizes(config: TrainConfig) -> Iterator[tuple[KeyPath, str]]:
    """Yield the place and the sentence of each size that a network refuses.

    `Infer` is left alone: training does not read it.
    """
    networks = config.arch.by_name.values() if isinstance(config.arch, DistillationArch) else (config.arch,)
    for path, size in _sizes(config):
        expected = next(filter(None, (network.refuse_size(size) for network in networks)), "")
        if expected:
            yield path, f"expected {expected}, got {size[0]} × {size[1]}; `trainer resize` sets it everywhere"


def _sizes(config: TrainConfig) -> Iterator[tuple[KeyPath, Pixels]]:
    for split in ("Train", "Eval"):
        section = getattr(config.data, split)
        if section is None:
            continue
        scales = getattr(section.sampler, "scales", None)  # of a MultiScaleSampler
        if isinstance(section.dataset, MultiScaleDataset) and scales is not None:
            factor = getattr(section.sampler, "divided_factor", 1)
            for index, scale in enumerate(scales):
                side = scale // factor * factor
                yield ("DataLoader", split, "sampler", "scales", index), (side, side)
            continue
        ops = section.dataset.transform_ops
        grows = split == "Train" and is_progressive(config)
        for stage in range(STAGES) if grows else (None,):
            found = find_size(ops if stage is None else of_stage(ops, stage))
            if found is not None:
                index, size = found
                key = _key(ops[index], stage)
                yield ("DataLoader", split, "dataset", "transform_ops", index, ops[index].label, *key), size


def _key(op: Declaration, stage: int | None) -> KeyPath:
    if stage is not None and getattr(op, "progress_size", None) is not None:
        return ("progress_size", stage)
    return ("size",) if getattr(op, "size", None) is not None else ()
