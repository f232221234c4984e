"""Which samples an epoch has, in which order, and in which batches they come: one class a sampler.

Whatever the sampler, an epoch is an order of positions (`trainer.data.sharding`), so that it can be gone on
with from any place.
"""

from __future__ import annotations

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.config.samplers import (
    ClassBalancedSampler,
    DistributedBatchSampler,
    MultiScaleSampler,
    RASampler,
    Sampler,
)
from trainer.data.sharding import Indices, Shard, epoch_positions, shard_order, steps_of_epoch


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling(ABC):
    """The epochs of a list with `n` samples."""

    n: int

    @abstractmethod
    def positions(self, epoch: int, *, world_size: int) -> Indices:
        """Return the order of an epoch; `world_size` is the number of ranks that it is padded for."""

    @abstractmethod
    def shards(self, length: int, *, rank: int, world_size: int, start: int) -> Iterator[Shard]:
        """Yield a rank's parts of an order of that length, from place `start` on."""

    @abstractmethod
    def steps(self, *, world_size: int) -> int:
        """Return the number of global batches of a whole epoch."""

    @abstractmethod
    def done(self, cursor: int, *, world_size: int) -> int:
        """Return the number of global batches before a place of the order."""

    def side(self, start: int) -> int | None:  # noqa: ARG002 - most have one size
        """Return the side of the images of the batch that begins there; None where the config says it."""
        return None

    def repeats(self, positions: Indices) -> Indices:
        """Return of each place of an order how often its sample stood there before; tells its draws apart."""
        return np.broadcast_to(np.int64(0), len(positions))

    @property
    @abstractmethod
    def largest_batch(self) -> int:
        """Samples of a rank in the largest of all batches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plain(Sampling):
    """DistributedBatchSampler."""

    spec: DistributedBatchSampler

    def positions(self, epoch: int, *, world_size: int) -> Indices:  # noqa: D102
        return epoch_positions(self.n, epoch=epoch, world_size=world_size, shuffle=self.spec.shuffle)

    def shards(self, length: int, *, rank: int, world_size: int, start: int) -> Iterator[Shard]:  # noqa: D102
        yield from shard_order(
            length, rank=rank, world_size=world_size, batch_size=self.spec.batch_size,
            drop_last=self.spec.drop_last, start=start,
        )  # fmt: skip

    def steps(self, *, world_size: int) -> int:  # noqa: D102
        return steps_of_epoch(
            self.n, world_size=world_size, batch_size=self.spec.batch_size, drop_last=self.spec.drop_last
        )

    def done(self, cursor: int, *, world_size: int) -> int:  # noqa: D102
        return cursor // (world_size * self.spec.batch_size)

    @property
    def largest_batch(self) -> int:  # noqa: D102
        return self.spec.batch_size


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeated(Sampling):
    """RASampler: place p of the order is the sample at p // num_repeats of a shuffled list.

    Ranks take turns. PaddleClas d178931, ppcls/data/dataloader/ra_sampler.py.
    """

    spec: RASampler

    def positions(self, epoch: int, *, world_size: int) -> Indices:  # noqa: D102
        samples = epoch_positions(self.n, epoch=epoch, world_size=1, shuffle=self.spec.shuffle)
        return np.repeat(samples, self.spec.num_repeats)[: self._each(world_size) * world_size]

    def shards(self, length: int, *, rank: int, world_size: int, start: int) -> Iterator[Shard]:  # noqa: D102
        yield from shard_order(
            length, rank=rank, world_size=world_size, batch_size=self.spec.batch_size,
            drop_last=self.spec.drop_last, start=start, in_turn=True,
        )  # fmt: skip

    def steps(self, *, world_size: int) -> int:  # noqa: D102
        each, batch_size = self._each(world_size), self.spec.batch_size
        return each // batch_size if self.spec.drop_last else -(-each // batch_size)

    def done(self, cursor: int, *, world_size: int) -> int:  # noqa: D102
        return cursor // (world_size * self.spec.batch_size)

    def repeats(self, positions: Indices) -> Indices:  # noqa: D102
        return np.arange(len(positions), dtype=np.int64) % self.spec.num_repeats

    @property
    def largest_batch(self) -> int:  # noqa: D102
        return self.spec.batch_size

    def _each(self, world_size: int) -> int:
        return self.n // self.spec.selected_round * self.spec.selected_round // world_size


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Balanced(Sampling):
    """ClassBalancedSampler: the order of an epoch is a function of seed and epoch alone.

    Of n places in an epoch each of K classes has n // K, and n mod K classes have one more, in turns over the
    epochs. A class walks through shuffled orders of its own images, one after the other, and an epoch goes on
    where the one before it ended: so its images come equally often, but for one, over any number of epochs.
    How far it had come is counted, not remembered, so that an epoch can be entered without those before it.
    The order is not padded: how many ranks there are changes nothing but who reads what.
    """

    spec: ClassBalancedSampler
    seed: int
    labels: NDArray[np.int64]

    def positions(self, epoch: int, *, world_size: int) -> Indices:  # noqa: ARG002, D102
        by_class = np.argsort(self.labels, kind="stable")
        present, starts = np.unique(self.labels[by_class], return_index=True)
        parts = []
        for number, samples in enumerate(np.split(by_class, starts[1:])):
            begin, end = (self._seen(number, then, classes=len(present)) for then in (epoch, epoch + 1))
            parts.append(self._walk(int(present[number]), samples, begin, end))
        order: Indices = np.concatenate(parts).astype(np.int64)
        self._draws("order", epoch).shuffle(order)
        return order

    def shards(self, length: int, *, rank: int, world_size: int, start: int) -> Iterator[Shard]:  # noqa: D102
        yield from shard_order(
            length, rank=rank, world_size=world_size, batch_size=self.spec.batch_size,
            drop_last=self.spec.drop_last, start=start,
        )  # fmt: skip

    def steps(self, *, world_size: int) -> int:  # noqa: D102
        whole = world_size * self.spec.batch_size
        return self.n // whole if self.spec.drop_last else -(-self.n // whole)

    def done(self, cursor: int, *, world_size: int) -> int:  # noqa: D102
        return cursor // (world_size * self.spec.batch_size)

    def repeats(self, positions: Indices) -> Indices:  # noqa: D102
        order = np.argsort(positions, kind="stable")
        ranked = positions[order]
        begins = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
        runs = np.diff(np.append(begins, len(ranked)))
        found = np.empty(len(positions), dtype=np.int64)
        found[order] = np.arange(len(ranked)) - np.repeat(begins, runs)
        return found

    @property
    def largest_batch(self) -> int:  # noqa: D102
        return self.spec.batch_size

    def _seen(self, number: int, epoch: int, *, classes: int) -> int:
        """Return how many places a class has had before an epoch: its even share, and its turns beside it."""
        turns = epoch * (self.n % classes)
        return epoch * (self.n // classes) + max(0, -((number - turns) // classes))

    def _walk(self, label: int, samples: Indices, begin: int, end: int) -> Indices:
        """Return the samples from one place to another of the endless walk through a class's images."""
        m = len(samples)
        rounds = range(begin // m, -(-end // m))
        walked = np.concatenate(
            [self._shuffled(label, samples, number) for number in rounds] or [samples[:0]]
        )
        first = begin // m * m
        return walked[begin - first : end - first]

    def _shuffled(self, label: int, samples: Indices, number: int) -> Indices:
        if len(samples) == 1:
            return samples
        order: Indices = self._draws("class", label, number).permutation(samples)
        return order

    def _draws(self, *of: object) -> np.random.RandomState:
        """Return the generator of one thing; its stream is the same in all versions of NumPy (NEP 19)."""
        text = "/".join(map(str, ("balanced", self.seed, *of)))
        words = np.frombuffer(hashlib.blake2b(text.encode(), digest_size=32).digest(), dtype="<u4")
        return np.random.RandomState(words)


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiScale(Sampling):
    """MultiScaleSampler: a batch's size is a function of the seed and of where it begins.

    All ranks so have images of one size in a step, and a resumed epoch goes on as it would have. Sizes as in
    PaddleClas d178931, ppcls/data/dataloader/multi_scale_sampler.py, where each rank draws its own.
    """

    spec: MultiScaleSampler
    seed: int

    def positions(self, epoch: int, *, world_size: int) -> Indices:  # noqa: ARG002, D102
        return epoch_positions(self.n, epoch=epoch, world_size=1, shuffle=self.spec.is_training)

    def shards(self, length: int, *, rank: int, world_size: int, start: int) -> Iterator[Shard]:  # noqa: D102
        while start < length:
            _, count = self._choose(start)
            end = min(start + world_size * count, length)
            places = start + rank + world_size * np.arange(count, dtype=np.int64)
            beyond = places >= length
            missing = int(np.count_nonzero(beyond))
            places[beyond] = (rank + world_size * np.arange(missing, dtype=np.int64)) % length  # its front
            yield Shard(places=places, extra=missing, start=start, end=end)
            start = end

    def steps(self, *, world_size: int) -> int:  # noqa: D102
        return self.done(self.n, world_size=world_size)

    def done(self, cursor: int, *, world_size: int) -> int:  # noqa: D102
        count = start = 0
        while start < cursor:
            start += world_size * self._choose(start)[1]
            count += 1
        return count

    def side(self, start: int) -> int | None:  # noqa: D102
        return self._choose(start)[0]

    @property
    def largest_batch(self) -> int:  # noqa: D102
        if not self.spec.is_training:
            return self.spec.first_bs
        return max(self._sized(scale)[1] for scale in self.spec.scales)

    def _choose(self, start: int) -> tuple[int, int]:
        """Return side and number of images a rank of the batch that begins at a place."""
        if not self.spec.is_training:
            return self.spec.scales[0], self.spec.first_bs
        scale = random.Random(f"scale/{self.seed}/{start}").choice(self.spec.scales)  # noqa: S311 - no secret
        return self._sized(scale)

    def _sized(self, scale: int) -> tuple[int, int]:
        first, factor = self.spec.scales[0], self.spec.divided_factor
        side = scale // factor * factor
        return side, max(1, int(first * first * self.spec.first_bs / (side * side)))


def make_sampling(
    spec: Sampler, *, n: int, seed: int, labels: NDArray[np.int64] | NDArray[np.float32] | None = None
) -> Sampling:
    """Make the sampling that a config names, of a list with `n` samples.

    `labels` are the list's, int64 [N] where each sample has one class, which ClassBalancedSampler needs.
    """
    if isinstance(spec, ClassBalancedSampler):
        assert labels is not None, "the config's checks refuse it beside other data sets"
        return Balanced(n=n, spec=spec, seed=seed, labels=labels.astype(np.int64))
    if isinstance(spec, MultiScaleSampler):
        return MultiScale(n=n, spec=spec, seed=seed)
    return Repeated(n=n, spec=spec) if isinstance(spec, RASampler) else Plain(n=n, spec=spec)
