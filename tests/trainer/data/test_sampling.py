from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.trainer.data.conftest import RANDOM
from trainer.config.data import SplitSection
from trainer.config.samplers import MultiScaleSampler, RASampler
from trainer.data.loader import Loader
from trainer.data.sampling import MultiScale, Repeated
from trainer.errors import DataError


def slow_repeated(n: int, *, epoch: int, rank: int, ranks: int, spec: RASampler) -> list[list[int]]:
    """Follow ppcls/data/dataloader/ra_sampler.py word by word."""
    shuffled = list(range(n))
    if spec.shuffle:
        np.random.RandomState(epoch).shuffle(shuffled)
    repeated = [index for index in shuffled for _ in range(spec.num_repeats)]
    each = -(-n * spec.num_repeats // ranks)
    repeated += repeated[: each * ranks - len(repeated)]
    kept = repeated[rank::ranks][: n // spec.selected_round * spec.selected_round // ranks]
    batches = [kept[begin : begin + spec.batch_size] for begin in range(0, len(kept), spec.batch_size)]
    return [batch for batch in batches if len(batch) == spec.batch_size or not spec.drop_last]


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize(("shuffle", "drop_last"), [(True, False), (False, True)])
def test_repeated_augmentation_gives_paddleclas_s_batches(ranks: int, shuffle: bool, drop_last: bool) -> None:
    spec = RASampler(batch_size=5, shuffle=shuffle, drop_last=drop_last, selected_round=8)
    n = 29
    sampling = Repeated(n=n, spec=spec)
    for epoch, rank in itertools.product(range(2), range(ranks)):
        positions = sampling.positions(epoch, world_size=ranks)
        shards = list(sampling.shards(len(positions), rank=rank, world_size=ranks, start=0))
        assert len(shards) == sampling.steps(world_size=ranks)
        assert [(positions[shard.places] % n).tolist() for shard in shards] == slow_repeated(
            n, epoch=epoch, rank=rank, ranks=ranks, spec=spec
        )


def multi_scale(n: int = 60, **keys: Any) -> MultiScale:
    spec = MultiScaleSampler.model_validate({"scales": [64, 96, 140], "first_bs": 4, **keys})
    return MultiScale(n=n, spec=spec, seed=7)


def test_scales_are_rounded_down_and_have_about_as_many_pixels_in_a_batch() -> None:
    sampling = multi_scale(n=400)
    shards = list(sampling.shards(400, rank=0, world_size=1, start=0))
    sizes = {(sampling.side(shard.start), len(shard.places)) for shard in shards}
    # 64 · 64 · 4 pixels: 1.78 images of 96, and 1 of 128, which 140 is rounded down to
    assert sizes == {(64, 4), (96, 1), (128, 1)}


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_share_all_samples_in_steps_of_one_size(ranks: int) -> None:
    sampling = multi_scale(n=61)
    positions = sampling.positions(3, world_size=ranks)
    parts = [list(sampling.shards(61, rank=rank, world_size=ranks, start=0)) for rank in range(ranks)]
    assert len({len(part) for part in parts}) == 1
    assert len(parts[0]) == sampling.steps(world_size=ranks)
    seen: list[int] = []
    for step in zip(*parts, strict=True):
        assert len({len(shard.places) for shard in step}) == 1
        for shard in step:
            seen += positions[shard.places[: len(shard.places) - shard.extra]].tolist()
    assert sorted(seen) == list(range(61))


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_multi_scale_epoch_goes_on_from_any_place(ranks: int) -> None:
    sampling = multi_scale()
    whole = list(sampling.shards(60, rank=0, world_size=ranks, start=0))
    for done, shard in enumerate(whole):
        rest = list(sampling.shards(60, rank=0, world_size=ranks, start=shard.start))
        assert [part.places.tolist() for part in rest] == [part.places.tolist() for part in whole[done:]]
        assert sampling.done(shard.start, world_size=ranks) == done


def test_an_evaluating_sampler_keeps_the_first_scale_and_the_order() -> None:
    sampling = multi_scale(n=10, scales=[70, 96], is_training=False)
    shards = list(sampling.shards(10, rank=0, world_size=1, start=0))
    assert [sampling.side(shard.start) for shard in shards] == [70, 70, 70]
    assert np.concatenate([shard.places for shard in shards])[:10].tolist() == list(range(10))


def make(folder: Any, *, dataset: str, sampler: dict[str, Any], workers: int = 0) -> Loader:
    split = SplitSection.model_validate(
        {
            "dataset": {
                "name": dataset, "image_root": str(folder.path), "cls_label_path": str(folder.list),
                "transform_ops": RANDOM,
            },
            "sampler": sampler, "loader": {"num_workers": workers},
        }
    )  # fmt: skip
    return Loader(split=split, samples=folder.samples(), rank=0, world_size=1, seed=5, training=True)


MULTI = {"name": "MultiScaleSampler", "scales": [16, 24, 32], "first_bs": 4, "divided_factor": 8}


def test_a_loader_gives_each_batch_its_size_and_the_same_after_a_resumption(folder: Any) -> None:
    folder.draw(30)
    whole = list(make(folder, dataset="MultiScaleDataset", sampler=MULTI).batches(1))
    assert {batch.images.shape[2:] for batch in whole} == {(16, 16), (24, 24), (32, 32)}
    assert (
        sum(batch.global_samples for batch in whole) == sum(int(batch.valid.sum()) for batch in whole) == 30
    )
    loader = make(folder, dataset="MultiScaleDataset", sampler=MULTI, workers=2)
    assert loader.batches_before(whole[3].end) == 4
    rest = list(loader.batches(1, start=whole[3].end))
    assert [batch.images.tobytes() for batch in rest] == [batch.images.tobytes() for batch in whole[4:]]


def test_repetitions_of_a_sample_are_augmented_in_different_ways(folder: Any) -> None:
    folder.draw(12)
    sampler = {"name": "RASampler", "batch_size": 3, "shuffle": True, "selected_round": 12}
    batches = list(make(folder, dataset="ImageNetDataset", sampler=sampler).batches(0))
    assert len(batches) == 4
    for batch in batches:
        assert len(set(batch.indices.tolist())) == 1
        assert len({image.tobytes() for image in batch.images}) == 3


def test_a_list_shorter_than_a_round_is_refused(folder: Any) -> None:
    folder.draw(3)
    with pytest.raises(DataError, match="RASampler takes whole rounds of 256 samples"):
        make(folder, dataset="ImageNetDataset", sampler={"name": "RASampler", "batch_size": 2})
