from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.trainer.data.conftest import RANDOM, draw, encode
from trainer.config.problems import ConfigError
from trainer.data.loader import Batch, Loader
from trainer.errors import DataError

SKIP = {"bad_images": "skip", "bad_images_limit": 0.5}
BAD = (3, 4, 11)


def make(folder: Any, *, rank: int = 0, world_size: int = 1, training: bool = True, **loader: Any) -> Loader:
    split = folder.split(ops=RANDOM, shuffle=training, loader={**SKIP, **loader})
    return Loader(
        split=split, samples=folder.samples(), rank=rank, world_size=world_size, seed=5, training=training
    )


@pytest.fixture
def damaged(folder: Any) -> Any:
    folder.draw(24)
    for index, data in zip(BAD, (b"", b"no image", encode(draw(11), ".png")[:90]), strict=True):
        (folder.path / f"{index:03d}.jpg").write_bytes(data)
    return folder


def contents(batches: list[Batch]) -> dict[int, bytes]:
    """Images by their place in the epoch's order, with their labels; of batches of one rank."""
    found = {}
    for batch in batches:
        for slot in range(len(batch.labels)):
            found[len(found)] = batch.images[slot].tobytes() + batch.labels[slot].tobytes()
    return found


def test_other_images_of_the_list_take_their_place_with_their_labels(damaged: Any):
    batches = list(make(damaged).batches(0))
    trained = np.concatenate([batch.indices for batch in batches])
    labels = np.concatenate([batch.labels[:, 0] for batch in batches])
    assert len(trained) == 24
    assert not set(BAD) & set(trained.tolist())
    assert labels.tolist() == [index % 3 for index in trained]
    assert all(batch.valid.all() for batch in batches)
    assert sum(batch.bad_images for batch in batches) == 3


@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_workers_does_not_change_what_takes_their_place(damaged: Any, workers: int):
    for epoch in range(3):
        alone, helped = make(damaged), make(damaged, num_workers=workers)
        assert contents(list(alone.batches(epoch))) == contents(list(helped.batches(epoch)))


def test_all_numbers_of_ranks_train_on_the_same_images(damaged: Any):
    def trained(world_size: int) -> list[bytes]:
        parts = [
            contents(list(make(damaged, rank=rank, world_size=world_size).batches(1))).values()
            for rank in range(world_size)
        ]
        return sorted(image for part in parts for image in part)

    assert trained(1) == trained(2) == trained(3)


def test_an_epoch_that_is_gone_on_with_has_the_same_images(damaged: Any):
    whole = list(make(damaged).batches(2))
    rest = list(make(damaged).batches(2, start=8))
    assert contents(whole[2:]) == contents(rest)


def test_epochs_differ_in_what_takes_their_place(damaged: Any):
    loader = make(damaged)
    stand_ins = set()
    for epoch in range(6):
        counts = np.bincount(np.concatenate([batch.indices for batch in loader.batches(epoch)]), minlength=24)
        stand_ins.add(tuple(np.flatnonzero(counts > 1)))
    assert len(stand_ins) > 1


def test_an_evaluation_leaves_them_out_of_the_valid_ones(damaged: Any):
    batches = list(make(damaged, training=False).batches(0))
    valid = np.concatenate([batch.valid for batch in batches])
    indices = np.concatenate([batch.indices for batch in batches])
    assert sorted(indices[~valid].tolist()) == list(BAD)
    assert sum(batch.bad_images for batch in batches) == 3


def test_a_batch_without_any_readable_image_is_handed_on_as_invalid(damaged: Any):
    for index in range(4):
        (damaged.path / f"{index:03d}.jpg").write_bytes(b"no")
    first = next(iter(make(damaged, training=False).batches(0)))
    assert not first.valid.any()
    assert first.bad_images == 4


def test_each_is_named_once_with_its_line_and_reason(damaged: Any):
    loader = make(damaged, num_workers=3)
    said = []
    for epoch in range(3):
        for _ in loader.batches(epoch):
            said += loader.bad_images.take_unsaid()
    assert len(said) == 3
    assert any(
        text.startswith("bad image, skipped: ") and "train_list.txt:5: " in text and "8 bytes" in text
        for text in said
    )


def test_the_first_twenty_are_named_and_then_that_there_are_more(folder: Any):
    folder.draw(60)
    for index in range(25):
        (folder.path / f"{index:03d}.jpg").write_bytes(b"no")
    loader = make(folder)
    list(loader.batches(0))
    said = loader.bad_images.take_unsaid()
    assert len(said) == 21
    assert said[-1].startswith("more such images are not named")


@pytest.mark.parametrize(("limit", "borne"), [(0.0, 0), (0.05, 1), (0.1, 2), (1.0, 24)])
def test_more_than_the_limits_share_of_the_list_is_refused(damaged: Any, limit: float, borne: int):
    loader = make(damaged, bad_images_limit=limit)
    loader.bad_images.refuse_too_many(borne)
    with pytest.raises(
        DataError, match=rf"train_list.txt: expected at most {limit:.4g} of the list's 24 images"
    ):
        loader.bad_images.refuse_too_many(borne + 1)


def test_a_list_without_any_readable_image_is_refused_not_searched_for_ever(folder: Any):
    folder.draw(5)
    for index in range(5):
        (folder.path / f"{index:03d}.jpg").write_bytes(b"no")
    with pytest.raises(DataError, match="nor can 100 images that were drawn to take its place"):
        list(make(folder).batches(0))


def test_without_skip_the_first_batch_with_one_is_refused(damaged: Any):
    with pytest.raises(DataError, match=r"train_list.txt:4: .*003.jpg: expected an image"):
        list(make(damaged, bad_images="error", training=False).batches(0))


def test_images_of_other_shapes_are_no_bad_images(folder: Any):
    folder.draw(8)
    (folder.path / "002.jpg").write_bytes(encode(draw(2, width=90, height=50), ".jpg"))
    plain = [{"DecodeImage": {}}, RANDOM[-1]]
    loader = Loader(
        split=folder.split(ops=plain, loader=SKIP),
        samples=folder.samples(),
        rank=0,
        world_size=1,
        seed=5,
        training=True,
    )
    with pytest.raises(DataError, match="images to have one shape"):
        list(loader.batches(0))


@pytest.mark.parametrize(
    "wrong", [{"bad_images": "ignore"}, {"bad_images_limit": 1.5}, {"bad_images_limit": -0.1}]
)
def test_other_values_are_refused(folder: Any, wrong: dict[str, Any]):
    with pytest.raises((ConfigError, ValueError), match="bad_images"):
        folder.split(loader=wrong)


def test_an_image_of_too_many_pixels_is_a_bad_one(folder: Any):
    folder.draw(8)
    (folder.path / "005.jpg").write_bytes(encode(draw(5, width=80, height=60), ".jpg"))
    loader = Loader(
        split=folder.split(ops=RANDOM, loader=SKIP), samples=folder.samples(), rank=0, world_size=1, seed=5,
        training=True, max_pixels=2000,
    )  # fmt: skip
    assert sum(batch.bad_images for batch in loader.batches(0)) == 1
    assert "got 80 × 60" in loader.bad_images.take_unsaid()[0]


def test_a_jpeg_without_its_end_is_read_and_named(folder: Any):
    folder.draw(8)
    file = folder.path / "005.jpg"
    before = list(make(folder).batches(0))
    file.write_bytes(file.read_bytes()[:-2])
    loader = make(folder, bad_images="error")
    assert contents(list(loader.batches(0))) == contents(before)
    (said,) = loader.bad_images.take_unsaid()
    assert said.startswith("warning: ")
    assert "train_list.txt:6: " in said
    assert said.endswith("expected a JPEG's end marker, got none; all rows are there")
