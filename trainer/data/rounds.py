"""Which parts of each global batch a rank trains on, where there may be fewer ranks than parts.

A global batch is cut into as many parts as a job has ranks with all its nodes. Where some are missing, those
that are there take several parts each, one after the other, in rounds. With 5 parts and 2 ranks:

    round   0    1    2
    rank 0  0    2    4
    rank 1  1    3    (1)

So batches, their order and what is drawn for them do not depend on how many ranks there are. In the last
round some ranks may have no part left: they read one of theirs again, which does not count, and only keep in
step with the others, who exchange gradients with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trainer.data.sampling import Sampling
from trainer.data.sharding import Shard


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Part:
    """One rank's part of a global batch.

    Attributes:
        shard: Its places in the epoch's order.
        number: Which part it is, from 0.
        counts: Whether it is trained on.
        first: Of the round: parts of the global batch in the rounds before.
        last: The same with this round's.
    """

    shard: Shard
    number: int
    counts: bool
    first: int
    last: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Rounds:
    """How ranks share the parts of a global batch.

    Attributes:
        rank: Whose parts.
        world_size: Ranks that are there.
        parts: Of a global batch; at least `world_size`.
    """

    rank: int
    world_size: int
    parts: int

    @property
    def count(self) -> int:
        """Rounds that a global batch takes: batches of a rank in it."""
        return -(-self.parts // self.world_size)

    def parts_of(self, sampling: Sampling, *, length: int, start: int) -> Iterator[Part]:
        """Yield this rank's parts of an order with `length` places, from place `start` on."""
        own = [self.rank + number * self.world_size for number in range(self.count)]
        numbers = [number if number < self.parts else self.rank for number in own]
        shards = [
            sampling.shards(length, rank=number, world_size=self.parts, start=start) for number in numbers
        ]
        for of_batch in zip(*shards, strict=True):
            for number, shard in enumerate(of_batch):
                yield Part(
                    shard=shard, number=numbers[number], counts=own[number] < self.parts,
                    first=number * self.world_size, last=min((number + 1) * self.world_size, self.parts),
                )  # fmt: skip

    def share(self, samples: int, part: Part) -> int:
        """Return how many of a global batch's samples come in a part's round; about, of an incomplete one."""
        return samples * part.last // self.parts - samples * part.first // self.parts
