"""Fewer ranks than a job has read the same global batches, each in several parts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.trainer.data.conftest import RANDOM
from trainer.data.loader import Batch, Loader

JOB = 4


def make(folder: Any, *, rank: int, world_size: int, **split: Any) -> Loader:
    return Loader(
        split=folder.split(**split), samples=folder.samples(), rank=rank, world_size=world_size, seed=5,
        training=True, shards=JOB,
    )  # fmt: skip


def read(
    folder: Any, world_size: int, *, epoch: int = 1, start: int = 0, **split: Any
) -> dict[tuple[int, int], Batch]:
    """Return what all ranks train on, by global batch and part of it."""
    found: dict[tuple[int, int], Batch] = {}
    for rank in range(world_size):
        for batch in make(folder, rank=rank, world_size=world_size, **split).batches(epoch, start=start):
            if batch.counts:
                assert (batch.start, batch.shard) not in found
                found[batch.start, batch.shard] = batch
    return found


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize(
    "sampler", [{}, {"name": "RASampler", "num_repeats": 2, "selected_round": 8}], ids=["plain", "repeated"]
)
def test_parts_are_the_same_bytes_whoever_reads_them(
    world_size: int, sampler: dict[str, Any], folder: Any
) -> None:
    folder.draw(43)
    split = {"ops": RANDOM, "shuffle": True, **sampler}
    whole, fewer = read(folder, JOB, **split), read(folder, world_size, **split)
    assert whole.keys() == fewer.keys()
    for key, batch in whole.items():
        assert fewer[key].images.tobytes() == batch.images.tobytes()
        assert fewer[key].labels.tolist() == batch.labels.tolist()
        assert fewer[key].end == batch.end


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_an_epoch_that_goes_on_with_other_ranks_has_every_sample_once(world_size: int, folder: Any) -> None:
    folder.draw(48)
    before = read(folder, 3, shuffle=True)
    cut = 16
    seen: Counter[int] = Counter()
    for (start, _), batch in before.items():
        if start < cut:
            seen.update(batch.indices[batch.valid].tolist())
    for batch in read(folder, world_size, start=cut, shuffle=True).values():
        seen.update(batch.indices[batch.valid].tolist())
    assert seen == Counter(range(48))


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_ranks_have_equally_many_batches_and_their_samples_add_up(world_size: int, folder: Any) -> None:
    folder.draw(43)
    loaders = [make(folder, rank=rank, world_size=world_size) for rank in range(world_size)]
    batches = [list(loader.batches(0)) for loader in loaders]
    assert {len(own) for own in batches} == {len(loader) for loader in loaders} == {3 * -(-JOB // world_size)}
    for own in batches:
        assert sum(batch.global_samples for batch in own) == 43
    assert loaders[0].batches_before(32) == 2 * loaders[0].rounds
    idle = [batch for own in batches for batch in own if not batch.counts]
    assert len(idle) == 3 * (-JOB % world_size)
    assert not any(batch.valid.any() for batch in idle)
