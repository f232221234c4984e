from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.sharding import epoch_order, epoch_positions, shard_order, steps_of_epoch

numbers = st.integers(1, 60)
ranks = st.integers(1, 5)


class _Length:
    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(
    ("n", "world_size", "batch_size"), [(10, 1, 3), (12, 2, 3), (23, 4, 2), (2, 5, 1), (7, 3, 16)]
)
def test_every_rank_gets_what_paddle_deals_out(
    n: int, world_size: int, batch_size: int, shuffle: bool, drop_last: bool
) -> None:
    from paddle.io import DistributedBatchSampler

    for rank in range(world_size):
        theirs = DistributedBatchSampler(
            _Length(n), batch_size, num_replicas=world_size, rank=rank, shuffle=shuffle, drop_last=drop_last
        )
        for epoch in range(3):
            if shuffle:
                theirs.set_epoch(epoch)
            order = epoch_order(n, epoch=epoch, world_size=world_size, shuffle=shuffle)
            ours = shard_order(
                len(order), rank=rank, world_size=world_size, batch_size=batch_size, drop_last=drop_last
            )
            assert [order[shard.places].tolist() for shard in ours] == list(theirs)
            assert all(shard.extra == 0 for shard in ours)
        steps = steps_of_epoch(n, world_size=world_size, batch_size=batch_size, drop_last=drop_last)
        assert steps == len(ours) == len(theirs)


def test_padding_stands_at_the_end_where_nothing_is_shuffled() -> None:
    assert epoch_positions(5, epoch=3, world_size=4, shuffle=False).tolist() == list(range(8))
    assert epoch_order(5, epoch=3, world_size=4, shuffle=False).tolist() == [0, 1, 2, 3, 4, 0, 1, 2]


def test_the_order_depends_on_the_epoch_alone() -> None:
    first, again, second = (epoch_order(50, epoch=epoch, world_size=2, shuffle=True) for epoch in (0, 0, 1))
    assert first.tolist() == again.tolist() != second.tolist()


@given(n=numbers, world_size=ranks, now=ranks, batch_size=st.integers(1, 7), data=st.data())
def test_an_epoch_that_others_began_is_finished_whoever_goes_on(
    n: int, world_size: int, now: int, batch_size: int, data: st.DataObject
) -> None:
    positions = epoch_positions(n, epoch=1, world_size=world_size, shuffle=True)
    start = data.draw(st.integers(0, len(positions)))
    shards = [
        shard_order(
            len(positions), rank=rank, world_size=now, batch_size=batch_size, drop_last=False, start=start
        )
        for rank in range(now)
    ]
    shards = list(zip(*shards, strict=True))
    seen = [
        place
        for step in shards
        for shard in step
        for place in shard.places[: len(shard.places) - shard.extra]
    ]
    assert sorted(seen) == list(range(start, len(positions)))
    for step in shards:
        assert len({len(shard.places) for shard in step}) == 1
        assert len(step[0].places) >= 1
    ends = [step[0].end for step in shards]
    assert ends == sorted(set(ends))
    assert not ends or ends[-1] == len(positions)


@given(n=numbers, world_size=ranks)
def test_every_sample_is_in_an_epoch_once_besides_padding(n: int, world_size: int) -> None:
    positions = epoch_positions(n, epoch=0, world_size=world_size, shuffle=True)
    assert sorted(positions) == list(range(len(positions)))
    assert len(positions) % world_size == 0
    assert np.count_nonzero(positions >= n) < world_size
