from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.trainer.data.conftest import PLAIN, RANDOM
from trainer.data.loader import Batch, Loader
from trainer.errors import DataError


def make(
    folder: Any, *, rank: int = 0, world_size: int = 1, seed: int = 5, training: bool = True, **split: Any
) -> Loader:
    return Loader(
        split=folder.split(**split), samples=folder.samples(), rank=rank, world_size=world_size, seed=seed,
        training=training,
    )  # fmt: skip


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        one.images.tobytes() == other.images.tobytes() and one.indices.tolist() == other.indices.tolist()
        for one, other in zip(first, second, strict=True)
    )


def test_batches_hold_what_the_list_names(folder: Any) -> None:
    folder.draw(10)
    loader = make(folder)
    batches = list(loader.batches(0))
    assert len(loader) == len(batches) == 3
    assert [batch.images.shape for batch in batches] == [(4, 3, 16, 16), (4, 3, 16, 16), (2, 3, 16, 16)]
    assert [batch.end for batch in batches] == [4, 8, 10]
    assert [batch.global_samples for batch in batches] == [4, 4, 2]
    first = batches[0]
    assert first.images.dtype == np.float32
    assert first.images.flags.c_contiguous
    assert first.indices.tolist() == [0, 1, 2, 3]
    assert first.labels.tolist() == [[0], [1], [2], [0]]
    assert first.labels.dtype == np.int64
    assert first.valid.all()


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(workers: int, folder: Any) -> None:
    folder.draw(23)
    alone = make(folder, ops=RANDOM, shuffle=True)
    helped = make(folder, ops=RANDOM, shuffle=True, loader={"num_workers": workers})
    for epoch in range(2):
        assert same(list(alone.batches(epoch)), list(helped.batches(epoch)))


def test_an_epoch_that_goes_on_repeats_the_draws_of_the_whole_one(folder: Any) -> None:
    folder.draw(14)
    loader = make(folder, ops=RANDOM, shuffle=True)
    whole = list(loader.batches(2))
    assert same(whole[1:], list(loader.batches(2, start=whole[0].end)))
    assert list(loader.batches(2, start=14)) == []


def test_the_seed_changes_the_draws_and_not_the_order(folder: Any) -> None:
    folder.draw(8)
    (one, other) = (next(make(folder, ops=RANDOM, shuffle=True, seed=seed).batches(0)) for seed in (1, 2))
    assert one.indices.tolist() == other.indices.tolist()
    assert not np.array_equal(one.images, other.images)


@pytest.mark.parametrize("shuffle", [False, True])
def test_padding_is_marked_wherever_it_stands_and_not_counted(shuffle: bool, folder: Any) -> None:
    folder.draw(10)
    loaders = [
        make(folder, rank=rank, world_size=3, shuffle=shuffle, batch_size=2, training=False)
        for rank in range(3)
    ]
    batches = [batch for loader in loaders for batch in loader.batches(1)]
    counted = [int(index) for batch in batches for index in batch.indices[batch.valid]]
    assert sorted(counted) == list(range(10))
    assert sum(len(batch.indices) for batch in batches) == 12
    assert sum(batch.global_samples for batch in loaders[0].batches(1)) == 10


def test_other_ranks_finish_an_epoch_in_its_order(folder: Any) -> None:
    folder.draw(11)
    began = [make(folder, rank=rank, world_size=2, shuffle=True, batch_size=2) for rank in range(2)]
    firsts = [next(loader.batches(0)) for loader in began]
    seen = [int(index) for batch in firsts for index in batch.indices[batch.valid]]
    for rank in range(3):
        loader = make(folder, rank=rank, world_size=3, shuffle=True, batch_size=2)
        for batch in loader.batches(0, start=firsts[0].end, order_world_size=2):
            assert len(batch.indices) > 0
            seen += [int(index) for index in batch.indices[batch.valid]]
    assert sorted(seen) == list(range(11))


def test_one_stream_of_draws_goes_on_over_samples_and_epochs_and_can_be_restored(folder: Any) -> None:
    folder.draw(8)

    def fresh() -> Loader:
        return make(folder, ops=RANDOM, loader={"rng": "paddleclas"})

    loader, again = fresh(), fresh()
    first, second = list(loader.batches(0)), list(loader.batches(1))
    assert not same(first, second)
    assert same(first, list(again.batches(0)))
    state = again.rng_state()
    other = fresh()
    other.restore_rng(state or "")
    assert same(second, list(other.batches(1)))


def test_the_stream_s_state_after_a_batch_is_that_of_the_next(folder: Any) -> None:
    folder.draw(8)
    loader = make(folder, ops=RANDOM, loader={"rng": "paddleclas"})
    batches = loader.batches(0)
    first = next(batches)
    state = loader.rng_state()
    rest = list(batches)
    other = make(folder, ops=RANDOM, loader={"rng": "paddleclas"}, seed=99)
    other.restore_rng(state or "")
    assert same(rest, list(other.batches(0, start=first.end)))


def test_draws_by_sample_have_no_state(folder: Any) -> None:
    loader = make(folder.draw(4))
    assert loader.rng_state() is None
    loader.restore_rng("anything")


def test_ranks_draw_differently_from_one_stream_each(folder: Any) -> None:
    folder.draw(4)
    streams = {
        make(folder, rank=rank, world_size=2, loader={"rng": "paddleclas"}).rng_state() for rank in (0, 1)
    }
    assert len(streams) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_images_are_told_with_line_and_file(workers: int, folder: Any) -> None:
    folder.draw(6)
    loader = make(folder, loader={"num_workers": workers})
    (folder.path / "001.jpg").write_bytes(b"no image")
    (folder.path / "002.jpg").unlink()
    (folder.path / "003.jpg").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        next(loader.batches(0))
    fix = "; replace the file, remove the line, or set bad_images: skip in its loader"
    assert [problem.replace(str(folder.path), "") for problem in caught.value.problems] == [
        "/train_list.txt:2: /001.jpg: expected an image, got 8 bytes that OpenCV cannot decode" + fix,
        "/train_list.txt:3: /002.jpg: expected a readable image, got: no such file or directory" + fix,
        "/train_list.txt:4: /003.jpg: expected an image, got an empty file" + fix,
    ]


def test_who_skips_bad_images_already_is_not_told_to(folder: Any) -> None:
    folder.draw(6)
    (folder.path / "001.jpg").write_bytes(b"no image")
    loader = make(folder, loader={"num_workers": 0, "bad_images": "skip", "bad_images_limit": 0.5})
    list(loader.batches(0))
    (said,) = loader.bad_images.take_unsaid()
    assert said.endswith("; replace the file, or remove the line")


def test_images_of_several_shapes_are_refused_with_what_to_do(folder: Any) -> None:
    folder.draw(3)
    small = folder.path / "001.jpg"
    import cv2

    cv2.imwrite(str(small), cv2.imread(str(small))[:20])
    loader = make(folder, ops=[PLAIN[0], PLAIN[2]])
    with pytest.raises(DataError, match=r"got \[3, 20, 40\] beside \[3, 30, 40\]; let transform_ops resize"):
        next(loader.batches(0))


def test_too_few_samples_for_a_step_are_refused_in_training_only(folder: Any) -> None:
    folder.draw(5)
    with pytest.raises(
        DataError, match="expected at least 8 samples for a batch of 4 on each of 2 ranks, got 5"
    ):
        make(folder, world_size=2, drop_last=True)
    assert len(make(folder, world_size=2, drop_last=True, training=False)) == 0
