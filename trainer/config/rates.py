"""Whether learning rate and weights belong together. Pure.

PaddleClas trains ResNet from scratch at 0.1 for 256 images a step with Momentum (d178931,
ppcls/configs/ImageNet/ResNet/ResNet50_vd.yaml), and fine-tuning usually begins at a tenth of that. Optimizers
that divide by the size of the gradient train from scratch at about 0.001, and fine-tune at a tenth of it or
less; their rates hardly depend on the batch. What lies in between is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.archs import DistillationArch
from trainer.config.problems import KeyPath
from trainer.config.root import TrainConfig
from trainer.config.schedules import WithRate

IMAGENET_RATE, IMAGENET_BATCH = 0.1, 256
_ADAPTIVE_RATE = 0.001
_TENTH = 10
_FAR = 30.0
"""Times below the rate of training from scratch from which on a rate is one for fine-tuning."""
FOLLOW_GRADIENTS = frozenset({"Momentum", "SGD"})
"""Optimizers whose step grows with the gradient, so that their rate goes with the batch."""
ADAPTIVE = frozenset({"Adam", "AdamW", "AdamWDL"})


def is_pretrained(config: TrainConfig) -> bool:
    """Tell whether a training begins with weights: of `Arch`, of `Global`, or of a checkpoint."""
    run = config.run
    return bool(config.arch.pretrained or run.pretrained_model or run.checkpoints)


def find_rate_doubts(config: TrainConfig, *, ranks: int) -> Iterator[tuple[KeyPath, str]]:
    """Yield place and sentence where the rate is one for weights that are not there, or the other way round.

    Args:
        config: Checked.
        ranks: That train.
    """
    place, first = config.optimizers[0]
    rate = first.lr.learning_rate if isinstance(first.lr, WithRate) else None
    batch = config.data.Train.sampler.batch_size * ranks * config.run.update_freq
    name = type(first).__name__
    several = isinstance(config.arch, DistillationArch)  # each network has weights, or none, of its own
    if not rate or not batch or several or name not in FOLLOW_GRADIENTS | ADAPTIVE:
        return
    usual = IMAGENET_RATE * batch / IMAGENET_BATCH if name in FOLLOW_GRADIENTS else _ADAPTIVE_RATE
    where = (*place, "lr", "learning_rate")
    of = f" of {ranks} ranks" if ranks > 1 else ""
    step = f" with {batch} images a step{of}" if name in FOLLOW_GRADIENTS else f" with {name}"
    propose = "; `trainer lr-find` proposes one"
    if is_pretrained(config) and rate > (usual / 2 if name in FOLLOW_GRADIENTS else usual):
        yield (
            where,
            f"expected about {usual / _TENTH:.2g} to begin fine-tuning with, a tenth of what trains from "
            f"scratch{step}, got {rate:g}{propose}",
        )
    elif not is_pretrained(config) and rate < usual / _FAR:
        yield (
            where,
            f"expected about {usual:.2g} to train from scratch{step}, because nothing is pretrained, got "
            f"{rate:g}, which is one for fine-tuning{propose}, and `trainer weights list {config.arch.name}` "
            "says where weights would be looked for",
        )
