"""ClassBalancedSampler: each class as often, exact over ranks, resumptions and epochs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.trainer.data.conftest import RANDOM
from trainer.config.data import SplitSection
from trainer.config.samplers import ClassBalancedSampler
from trainer.data.loader import Loader
from trainer.data.sampling import Balanced

LABELS = np.repeat([0, 1, 2, 5], [40, 13, 3, 1])


def balanced(*, seed: int = 7, batch_size: int = 4, labels: Any = LABELS, **keys: Any) -> Balanced:
    spec = ClassBalancedSampler(batch_size=batch_size, **keys)
    return Balanced(n=len(labels), spec=spec, seed=seed, labels=labels)


def test_each_class_is_as_often_and_an_epoch_as_long_as_the_list() -> None:
    sampling = balanced()
    for epoch in range(6):
        order = sampling.positions(epoch, world_size=1)
        counts = Counter(LABELS[order].tolist())
        assert len(order) == len(LABELS) == 57
        assert set(counts.values()) == {14, 15}
        assert sum(count == 15 for count in counts.values()) == 57 % 4


def test_over_epochs_the_classes_and_their_images_come_equally_often() -> None:
    sampling = balanced()
    seen: Counter[int] = Counter()
    for epoch in range(8):
        seen.update(sampling.positions(epoch, world_size=1).tolist())
        of_class = [sum(seen[k] for k in np.flatnonzero(label == LABELS)) for label in (0, 1, 2, 5)]
        assert max(of_class) - min(of_class) <= 1
        for label in (0, 1, 2):
            times = [seen[k] for k in np.flatnonzero(label == LABELS).tolist()]
            assert max(times) - min(times) <= 1, (epoch, label)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    orders = {
        (seed, epoch): balanced(seed=seed).positions(epoch, world_size=1).tolist()
        for seed in (1, 2)
        for epoch in (0, 1)
    }
    assert len({tuple(order) for order in orders.values()}) == 4
    for (seed, epoch), order in orders.items():
        assert balanced(seed=seed).positions(epoch, world_size=3).tolist() == order


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_share_an_epoch_and_go_on_with_it_from_any_place(ranks: int, drop_last: bool) -> None:
    sampling = balanced(drop_last=drop_last)
    order = sampling.positions(2, world_size=ranks)
    parts = [list(sampling.shards(len(order), rank=rank, world_size=ranks, start=0)) for rank in range(ranks)]
    assert {len(part) for part in parts} == {sampling.steps(world_size=ranks)}
    places = [
        place
        for step in zip(*parts, strict=True)
        for shard in step
        for place in shard.places[: len(shard.places) - shard.extra].tolist()
    ]
    whole = 57 // (4 * ranks) * 4 * ranks if drop_last else 57
    assert sorted(places) == list(range(whole))
    for done, shard in enumerate(parts[0]):
        assert sampling.done(shard.start, world_size=ranks) == done
        rest = list(sampling.shards(len(order), rank=0, world_size=ranks, start=shard.start))
        assert [part.places.tolist() for part in rest] == [part.places.tolist() for part in parts[0][done:]]


def test_a_sample_s_places_are_told_apart() -> None:
    sampling = balanced()
    order = sampling.positions(0, world_size=1)
    repeats = sampling.repeats(order)
    seen: Counter[int] = Counter()
    for sample, repeat in zip(order.tolist(), repeats.tolist(), strict=True):
        assert repeat == seen[sample]
        seen[sample] += 1
    assert max(seen.values()) >= 14  # the only image of class 5


def make(folder: Any, *, workers: int = 0) -> Loader:
    split = SplitSection.model_validate(
        {
            "dataset": {
                "name": "ImageNetDataset", "image_root": str(folder.path), "cls_label_path": str(folder.list),
                "transform_ops": RANDOM,
            },
            "sampler": {"name": "ClassBalancedSampler", "batch_size": 3}, "loader": {"num_workers": workers},
        }
    )  # fmt: skip
    return Loader(split=split, samples=folder.samples(), rank=0, world_size=1, seed=5, training=True)


def test_an_image_that_comes_twice_is_augmented_in_two_ways_and_a_resumed_epoch_is_the_same(
    folder: Any,
) -> None:
    folder.draw(10)
    names = folder.list.read_text().splitlines()
    folder.list.write_text("".join(f"{line.split()[0]} {int(k == 0)}\n" for k, line in enumerate(names)))
    whole = list(make(folder).batches(1))
    assert sum(batch.global_samples for batch in whole) == 10
    only = [
        image.tobytes()
        for batch in whole
        for image, index in zip(batch.images, batch.indices, strict=True)
        if index == 0
    ]
    assert len(only) == 5
    assert len(set(only)) == 5
    loader = make(folder, workers=2)
    rest = list(loader.batches(1, start=whole[1].end))
    loader.close()
    assert [batch.images.tobytes() for batch in rest] == [batch.images.tobytes() for batch in whole[2:]]
