"""The order of an epoch's samples and how the ranks share it, as paddle.io.DistributedBatchSampler does.

An order is a permutation of positions 0 .. T − 1, where T is the number of samples padded to a multiple of
the ranks. Position p stands for sample p mod n; a position of n or above is padding. Paddle 3.3.1,
python/paddle/io/dataloader/batch_sampler.py, gives the same samples in the same order (a test compares).

With n = 5 samples and 2 ranks, T = 6 and place 5 repeats sample 0. Unshuffled, in batches of 2:

    order           0 1 2 3 4 0
    global batches  [0 1 2 3] [4 0]
    rank 0          [0 1]     [4]
    rank 1          [2 3]     [0]

Sharding works on places of an order, not on samples, and takes the place to begin at. So an epoch that was
begun by other ranks is gone on with: its order, padded for those, stays, and what is left of it is sharded
among the ranks that there are now. Every sample is trained on as often as it would have been. What Paddle's
sampler does, each rank by itself from the start of an epoch, cannot be entered in the middle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shard:
    """One rank's part of a global batch.

    Attributes:
        places: int64 [B], places in the order.
        extra: How many at the end of `places` are repetitions that make all ranks' parts equally long.
        start: Place of the order where the global batch begins.
        end: One past the last place of the global batch.
    """

    places: Indices
    extra: int
    start: int
    end: int


def epoch_positions(n: int, *, epoch: int, world_size: int, shuffle: bool) -> Indices:
    """Return the positions of an epoch in their order.

    Args:
        n: Samples, at least one.
        epoch: From 0; seeds the shuffling, which knows no other seed.
        world_size: Ranks that the order is padded for.
        shuffle: False keeps the list's order, with the padding at the end.
    """
    positions = np.arange(-(-n // world_size) * world_size, dtype=np.int64)
    if shuffle:
        np.random.RandomState(epoch).shuffle(positions)
    return positions


def epoch_order(n: int, *, epoch: int, world_size: int, shuffle: bool) -> Indices:
    """Return the samples of an epoch in their order, padding included; arguments as `epoch_positions`."""
    order: Indices = epoch_positions(n, epoch=epoch, world_size=world_size, shuffle=shuffle) % n
    return order


def shard_order(
    length: int,
    *,
    rank: int,
    world_size: int,
    batch_size: int,
    drop_last: bool,
    start: int = 0,
    in_turn: bool = False,
) -> list[Shard]:
    """Return a rank's shards of an order, one of each global batch of `world_size * batch_size` places.

    The last, incomplete global batch is split into equal contiguous parts. Where it does not divide, as an
    epoch that was begun by another number of ranks may leave it, its own front is repeated: ranks with
    unequal batches would weigh their gradients wrongly, and one without any would hang the others.

    Args:
        length: Places in the order.
        rank: Whose part.
        world_size: Ranks that share it now; the order may have been padded for another number.
        batch_size: A rank's.
        drop_last: Leave an incomplete last global batch out.
        start: Places that were sharded before.
        in_turn: Give place after place to one rank after the other, not contiguous parts.
    """
    whole = world_size * batch_size
    shards: list[Shard] = []
    for begin in range(start, length, whole):
        end = min(begin + whole, length)
        if drop_last and end - begin < whole:
            break
        part = -(-(end - begin) // world_size)
        offsets = np.arange(rank * part, (rank + 1) * part, dtype=np.int64)
        if in_turn:
            offsets = rank + world_size * np.arange(part, dtype=np.int64)
        extra = int(np.count_nonzero(offsets >= end - begin))
        shards.append(Shard(places=begin + offsets % (end - begin), extra=extra, start=begin, end=end))
    return shards


def steps_of_epoch(n: int, *, world_size: int, batch_size: int, drop_last: bool) -> int:
    """Return the number of global batches of a whole epoch."""
    each = -(-n // world_size)
    return each // batch_size if drop_last else -(-each // batch_size)
