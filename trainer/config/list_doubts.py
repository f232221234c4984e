"""Whether a list and the config that trains on it belong together: too few steps, classes, their order. Pure.

`trainer check` asks this of the list that it has read, and `ftlaunch` of one that is on this machine, so that
both say the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from trainer.config.losses import ClassWeightedLoss
from trainer.config.problems import KeyPath
from trainer.config.rates import is_pretrained
from trainer.config.root import TrainConfig
from trainer.config.samplers import ClassBalancedSampler, DistributedBatchSampler, MultiScaleSampler

UNBALANCED = 3.0
"""Images of the largest class for one of the smallest from which on classes are out of balance."""
_SCRATCH_STEPS, _QUICK_STEPS, _USUAL_STEPS = 500, 700, 2000
"""Steps in which a network that knows nothing learns little, and that it usually needs (docs/init.md)."""
_SORTED = 0.5
"""How far from chance (0) to batches of one class (1) an order has to be to be one by classes."""
_LEAST_BATCH = 4
"""Images of a step below which batches of one class are nothing unusual."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListFacts:
    """What the doubts follow from: small, however long the list is.

    Attributes:
        images: Lines.
        counts: Class -> its lines; empty where a line has several classes, or none.
        runs: Length of a run of lines of one class, as they follow each other -> how many such runs.
    """

    images: int
    counts: Mapping[int, int] = field(default_factory=dict)
    runs: Mapping[int, int] = field(default_factory=dict)


def measure_list(images: int, labels: Sequence[int] = ()) -> ListFacts:
    """Return the facts of a list.

    Args:
        images: Its lines.
        labels: A class a line; empty where lines have several, or none.
    """
    runs = Counter(sum(1 for _ in run) for _, run in groupby(labels))
    return ListFacts(images=images, counts=dict(Counter(labels)), runs=dict(runs))


def find_list_doubts(config: TrainConfig, facts: ListFacts, *, ranks: int) -> Iterator[tuple[KeyPath, str]]:
    """Yield place and sentence for all that a training on such a list would suffer from.

    Args:
        config: Checked.
        facts: Of the list of `DataLoader.Train`.
        ranks: That train.
    """
    yield from _few_steps(config, facts, ranks)
    yield from _unbalanced(config, facts)
    yield from _by_classes(config, facts, ranks)


def _few_steps(config: TrainConfig, facts: ListFacts, ranks: int) -> Iterator[tuple[KeyPath, str]]:
    batch = config.data.Train.sampler.batch_size * ranks * config.run.update_freq
    whole, rest = divmod(facts.images, max(1, batch))
    sampler = config.data.Train.sampler
    drops = not isinstance(sampler, MultiScaleSampler) and sampler.drop_last and whole > 0
    each = config.run.iter_per_epoch or whole + (rest > 0 and not drops)
    steps = each * config.run.epochs
    if steps < _SCRATCH_STEPS and not is_pretrained(config):
        least, wanted = (math.ceil(count / max(1, each)) for count in (_QUICK_STEPS, _USUAL_STEPS))
        yield (
            ("Global", "epochs"),
            f"expected {_QUICK_STEPS} steps for a quick try, {_USUAL_STEPS:,} for a good model, to train "
            f"from scratch, because nothing is pretrained, got {steps}: {config.run.epochs} epochs of "
            f"{each}; try {least} to {wanted} epochs, or begin with weights (Arch.pretrained)",
        )


def _unbalanced(config: TrainConfig, facts: ListFacts) -> Iterator[tuple[KeyPath, str]]:
    counts = facts.counts
    weighted = any(
        isinstance(loss, ClassWeightedLoss) and loss.class_weight is not None for loss in config.loss.Train
    )
    if len(counts) < 2 or weighted or isinstance(config.data.Train.sampler, ClassBalancedSampler):
        return
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[largest] >= UNBALANCED * counts[smallest]:
        yield (
            ("DataLoader", "Train"),
            f"expected about as many images of each class, got {counts[largest]} of class {largest} and "
            f"{counts[smallest]} of class {smallest}, which are easily never answered; try "
            "`CELoss: {class_weight: auto}` in Loss.Train, or ClassBalancedSampler, and look at each "
            "class's own accuracy (`trainer eval --report`)",
        )


def _by_classes(config: TrainConfig, facts: ListFacts, ranks: int) -> Iterator[tuple[KeyPath, str]]:
    """Say where a list is trained on in its order, and that is one class after the other."""
    sampler = config.data.Train.sampler
    batch = min(sampler.batch_size * ranks, facts.images)
    in_order = isinstance(sampler, DistributedBatchSampler) and not sampler.shuffle
    if not in_order or len(facts.counts) < 2 or batch < _LEAST_BATCH:
        return
    chance = sum((count / facts.images) ** 2 for count in facts.counts.values())
    alike = _share_alike(facts, batch)
    if alike - chance >= _SORTED * (1 - chance):
        yield (
            ("DataLoader", "Train", "sampler", "shuffle"),
            "expected True, or a list in which the classes are mixed, got False and a list sorted by "
            f"classes: of two images of a batch of {batch}, {100 * alike:.0f} % have one class, where mixed "
            f"it would be {100 * chance:.0f} %, and a network learns each class while it forgets the others; "
            "set shuffle: True",
        )


def _share_alike(facts: ListFacts, batch: int) -> float:
    """Return of the pairs of images in batches of consecutive lines the share that is of one run.

    Of the pairs of a batch of b, b - d are d lines apart, and of a run of n lines n - d are: the sum of the
    products over d, up to the smaller of both, is a polynomial of third degree.
    """
    found = 0.0
    for length, count in facts.runs.items():
        most = min(batch, length) - 1
        ones, squares = most * (most + 1) / 2, most * (most + 1) * (2 * most + 1) / 6
        found += count * (most * batch * length - (batch + length) * ones + squares)
    return found / (batch * (batch - 1) / 2) / facts.images
