from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tests.trainer.data.conftest import RANDOM
from trainer.config.data import ImageNetDataset
from trainer.data.batch_ops import Mixing, blend, build_mixing
from trainer.data.loader import Batch, Loader
from trainer.data.rng import Stream, per_batch

CLASSES = 5
MIXUP: dict[str, Any] = {"MixupOperator": {"alpha": 0.4}}
CUTMIX: dict[str, Any] = {"CutmixOperator": {"alpha": 0.6}}
EITHER: dict[str, Any] = {
    "OpSampler": {"CutmixOperator": {"alpha": 1.0, "prob": 0.3}, "MixupOperator": {"alpha": 0.2, "prob": 0.4}}
}
Array = np.ndarray[Any, Any]


def make(op: dict[str, Any]) -> Mixing:
    dataset = ImageNetDataset.model_validate(
        {
            "image_root": "", "cls_label_path": "", "batch_transform_ops": [op],
            "transform_ops": [{"DecodeImage": {}}, {"NormalizeImage": {"order": ""}}],
        }
    )  # fmt: skip
    assert dataset.batch_transform_ops is not None
    mixing = build_mixing(dataset.batch_transform_ops, classes=CLASSES)
    assert mixing is not None
    return mixing


def some_batch(seed: int, *, count: int = 6, height: int = 9, width: int = 12) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(count, 3, height, width)).astype(np.float32)
    return images, rng.integers(0, CLASSES, (count, 1))


def slow_mixup(images: Array, labels: Array, rng: np.random.RandomState, alpha: float) -> Any:
    order = rng.permutation(len(images))
    share = rng.beta(alpha, alpha)
    mixed, targets = np.zeros(images.shape), np.zeros((len(images), CLASSES))
    for here, other in enumerate(order):
        mixed[here] = share * images[here].astype(float) + (1 - share) * images[other].astype(float)
        targets[here, labels[here, 0]] += share
        targets[here, labels[other, 0]] += 1 - share
    return mixed, targets


def slow_cutmix(images: Array, labels: Array, rng: np.random.RandomState, alpha: float) -> Any:
    order = rng.permutation(len(images))
    share = rng.beta(alpha, alpha)
    _, _, height, width = images.shape
    box = int(height * np.sqrt(1 - share)), int(width * np.sqrt(1 - share))
    centre = rng.randint(height), rng.randint(width)
    mixed, targets = images.copy(), np.zeros((len(images), CLASSES))
    for here, other in enumerate(order):
        for row in range(height):
            for column in range(width):
                inside = (
                    centre[0] - box[0] // 2 <= row < centre[0] + box[0] // 2
                    and centre[1] - box[1] // 2 <= column < centre[1] + box[1] // 2
                )
                source = other if inside else here
                mixed[here, :, row, column] = images[source, :, row, column]
                targets[here, labels[source, 0]] += 1 / (height * width)
    return mixed, targets


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("op", ["MixupOperator", "CutmixOperator"])
def test_a_mixed_batch_is_what_a_slow_reading_gives(seed: int, op: str) -> None:
    images, labels = some_batch(seed)
    slow = slow_mixup if op == "MixupOperator" else slow_cutmix
    wanted_images, wanted_labels = slow(images, labels, np.random.RandomState(seed), 0.6)
    mixed, targets = make({op: {"alpha": 0.6}})(images.copy(), labels, Stream(seed).rng)
    assert (mixed.dtype, targets.dtype, targets.shape) == (np.float32, np.float32, (6, CLASSES))
    np.testing.assert_allclose(mixed, wanted_images, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(targets, wanted_labels, rtol=1e-5, atol=1e-6)


def test_the_share_of_an_unclipped_box_is_its_area() -> None:
    images, labels = some_batch(0)
    labels = np.arange(5)[:, None]
    for seed in range(30):
        mixed, targets = make(CUTMIX)(images[:5].copy(), labels, Stream(seed).rng)
        kept = (mixed == images[:5]).all(axis=1).mean(axis=(1, 2))
        np.testing.assert_allclose(targets[np.arange(5), labels[:, 0]], kept, atol=1e-6)
        np.testing.assert_allclose(targets.sum(axis=1), 1.0, atol=1e-6)


def test_a_sampler_draws_the_operation_in_the_order_of_the_file_and_else_leaves_the_batch() -> None:
    seen = set()
    for seed in range(30):
        images, labels = some_batch(seed)
        chosen = random.Random(seed).choices(["cutmix", "mixup", "none"], weights=[0.3, 0.4, 1 - 0.7])[0]
        mixed, targets = make(EITHER)(images.copy(), labels, Stream(seed).rng)
        if chosen == "none":
            np.testing.assert_array_equal(mixed, images)
            np.testing.assert_array_equal(targets, labels)
        else:
            alone = {"cutmix": ("CutmixOperator", 1.0), "mixup": ("MixupOperator", 0.2)}[chosen]
            wanted = make({alone[0]: {"alpha": alone[1]}})(images.copy(), labels, Stream(seed).rng)
            np.testing.assert_array_equal(mixed, wanted[0])
            np.testing.assert_array_equal(targets, wanted[1])
        seen.add(chosen)
    assert seen == {"cutmix", "mixup", "none"}


def test_probabilities_that_add_up_to_one_leave_no_batch() -> None:
    op = {"OpSampler": {"MixupOperator": {"prob": 0.7}, "CutmixOperator": {"prob": 0.3}}}
    for seed in range(50):
        images, labels = some_batch(seed, count=2)
        assert make(op)(images, labels, Stream(seed).rng)[1].shape == (2, CLASSES)


def test_the_draws_of_a_batch_depend_on_all_that_tells_it_apart() -> None:
    base = {"epoch": 1, "start": 8, "rank": 0}
    others = [{**base, key: value + 1} for key, value in base.items()]
    values = [per_batch(5, **keys).numpy.randint(2**31) for keys in (base, *others)]
    values.append(per_batch(6, **base).numpy.randint(2**31))
    assert len(set(values)) == 5
    assert values[0] == per_batch(5, **base).numpy.randint(2**31)


def loader(folder: Any, op: dict[str, Any], *, rank: int = 0, world_size: int = 1, **keys: Any) -> Loader:
    return Loader(
        split=folder.split(ops=RANDOM, batch_ops=[op], shuffle=True, loader=keys), samples=folder.samples(),
        rank=rank, world_size=world_size, seed=5, training=True,
    )  # fmt: skip


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        one.images.tobytes() == other.images.tobytes() and one.labels.tobytes() == other.labels.tobytes()
        for one, other in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("op", [MIXUP, CUTMIX, EITHER], ids=lambda op: str(next(iter(op))))
def test_neither_workers_nor_a_resumption_change_a_mixed_batch(op: dict[str, Any], folder: Any) -> None:
    folder.draw(14)
    whole = list(loader(folder, op).batches(1))
    assert same(whole, list(loader(folder, op, num_workers=3).batches(1)))
    assert same(whole[2:], list(loader(folder, op).batches(1, start=whole[1].end)))
    assert not same(whole, list(loader(folder, op).batches(2)))


def test_labels_of_a_loader_are_soft(folder: Any) -> None:
    folder.draw(6)
    batches = list(loader(folder, MIXUP).batches(0))
    assert [batch.labels.shape for batch in batches] == [(4, 3), (2, 3)]
    assert {batch.labels.dtype for batch in batches} == {np.dtype(np.float32)}


def test_ranks_mix_by_draws_of_their_own(folder: Any) -> None:
    folder.draw(8)
    found = [next(loader(folder, MIXUP, rank=rank, world_size=2).batches(0)).labels for rank in range(2)]
    shares = [labels[labels > 0].min() for labels in found]  # a share, but where all labels met their like
    assert shares[0] != shares[1]


def test_one_stream_mixes_a_batch_after_its_images_and_before_the_next_ones(folder: Any) -> None:
    folder.draw(8)
    split = {"ops": RANDOM, "shuffle": True, "loader": {"rng": "paddleclas"}}
    keys: dict[str, Any] = {"rank": 0, "world_size": 1, "seed": 5, "training": True}
    plain = Loader(split=folder.split(**split), samples=folder.samples(), **keys)
    mixed = loader(folder, MIXUP, rng="paddleclas")
    first = next(plain.batches(0))
    numpy_draws = Stream(5).rng.numpy  # these operations on images draw from Python's generator only
    wanted, targets = slow_mixup(first.images, first.labels, numpy_draws, 0.4)
    got = next(mixed.batches(0))
    np.testing.assert_allclose(got.images, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got.labels, targets[:, :3], rtol=1e-5, atol=1e-6)
    assert mixed.rng_state() != plain.rng_state()


def test_images_are_blended_to_the_bits_of_the_formula() -> None:
    draws = np.random.default_rng(3)
    images = draws.normal(size=(5, 3, 13, 17)).astype(np.float32)
    mask = draws.random((13, 17)).astype(np.float32)
    order = np.array([3, 0, 4, 2, 1])
    one = np.float32(1.0)
    for share in (0.3, 0.123456789, 1.0, 0.0):
        found = blend(images, order, np.float32(share), np.float32(1.0 - share))
        assert found.tobytes() == (share * images + (1.0 - share) * images[order]).tobytes()
    expected = mask * images + (one - mask) * images[order]
    assert blend(images, order, mask, one - mask).tobytes() == expected.tobytes()
