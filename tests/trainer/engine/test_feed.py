from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle
import pytest

from tests.trainer.conftest import Workshop
from trainer.data.loader import Batch
from trainer.data.normalization import Normalization
from trainer.engine.feed import FedBatch, Normalizer, ToDevice, ToGpu, feed
from trainer.engine.setup import load_lists, make_train_loader
from trainer.errors import DataError
from trainer.ranks import Ranks

SHIFT = {"scale": "1.0/255.0", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25]}


class Events:
    """What a device and its streams were told, in order; it never computes."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.finished: set[str] = set()
        self.here = "computing"

    def Stream(self) -> FakeStream:  # noqa: N802 - Paddle's name
        return FakeStream(self, "copying")

    def current_stream(self) -> FakeStream:
        return FakeStream(self, self.here)

    @contextmanager
    def stream_guard(self, stream: FakeStream) -> Iterator[None]:
        before, self.here = self.here, stream.name
        yield
        self.here = before


class FakeStream:
    def __init__(self, device: Events, name: str) -> None:
        self.device, self.name = device, name

    def record_event(self) -> FakeEvent:
        return FakeEvent(self.device, f"{self.name}@{len(self.device.told)}")

    def wait_event(self, event: FakeEvent) -> None:
        self.device.told.append(f"{self.name} waits for {event.name}")


class FakeEvent:
    def __init__(self, device: Events, name: str) -> None:
        self.device, self.name = device, name

    def query(self) -> bool:
        return self.name in self.device.finished


class FakeTensor:
    def __init__(self, device: Events, array: np.ndarray[Any, Any]) -> None:
        self.device, self.array, self.dtype = device, array.copy(), paddle.float32

    def cuda(self, *, blocking: bool) -> FakeTensor:
        assert not blocking
        self.device.told.append(f"{self.device.here} copies {int(self.array.flat[0])}")
        return self


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> tuple[Events, ToGpu]:
    events = Events()
    monkeypatch.setattr(ToGpu, "pin", staticmethod(lambda array: FakeTensor(events, array)))
    return events, ToGpu(events)


class Batches:
    """A loader's batches, and how far somebody has asked."""

    normalization = None

    def __init__(self, count: int, *, stream: str | None = None, broken: int | None = None) -> None:
        self.count, self.stream, self.broken = count, stream, broken
        self.asked, self.closed = 0, False
        self.released: list[int] = []

    def rng_state(self) -> str | None:
        return self.stream

    def batches(self) -> Generator[Batch, None, None]:
        try:
            for number in range(self.count):
                if number == self.broken:
                    raise DataError(["train.txt:7: expected an image"])
                self.asked += 1
                yield self.make(number)
        finally:
            self.closed = True

    def make(self, number: int) -> Batch:
        def release() -> None:
            self.released.append(number)

        return Batch(
            images=np.full((2, 1, 1, 1), number, dtype=np.float32), labels=np.full((2, 1), 100 + number),
            indices=np.arange(2), valid=np.array([True, number != 1]), global_samples=2, end=2,
            release=release,
        )  # fmt: skip


def feeding(batches: Batches, gpu: ToGpu | None = None, **how: Any) -> Generator[FedBatch, None, None]:
    device = ToDevice(None, on_gpu=True, copies=gpu) if gpu else None
    return feed(batches, batches.batches(), to_device=device, **how)  # type: ignore[arg-type]


def test_on_a_cpu_a_batch_is_copied_when_it_is_asked_for_and_its_memory_given_back() -> None:
    batches = Batches(3)
    fed = feeding(batches)
    first = next(fed)
    assert (batches.asked, batches.released) == (1, [0])
    assert first.images.numpy().tolist() == [[[[0.0]]], [[[0.0]]]]
    assert first.labels.numpy().tolist() == [[100], [100]]
    fed.close()
    assert batches.closed


def test_a_tensor_does_not_share_memory_with_the_batch() -> None:
    batches = Batches(1)
    batch = batches.make(4)
    images = ToDevice(None, on_gpu=False)
    sent = images.send(batch.images)
    batch.images[:] = 9
    assert images.receive(sent)[0].numpy().max() == 4


def test_only_valid_samples_are_fed_where_that_is_asked_for() -> None:
    shapes = [tuple(fed.images.shape) for fed in feeding(Batches(2), valid_only=True)]
    assert shapes == [(2, 1, 1, 1), (1, 1, 1, 1)]


def test_no_more_batches_are_asked_for_than_the_limit(gpu: tuple[Events, ToGpu]) -> None:
    batches = Batches(5)
    assert len(list(feeding(batches, gpu[1], limit=3))) == 3
    assert batches.asked == 3
    assert batches.closed


def test_on_a_gpu_the_next_batch_is_on_its_way_before_one_is_handed_on(gpu: tuple[Events, ToGpu]) -> None:
    events, to_gpu = gpu
    batches = Batches(3)
    fed = feeding(batches, to_gpu)
    next(fed)
    assert (batches.asked, batches.released) == (2, [0, 1])
    assert [told for told in events.told if "copies" in told] == [
        "copying copies 0", "copying copies 100", "copying copies 1", "copying copies 101",
    ]  # fmt: skip


def test_computing_waits_for_the_copy_and_a_copy_for_what_computes_with_older_memory(
    gpu: tuple[Events, ToGpu],
) -> None:
    events, to_gpu = gpu
    for _ in feeding(Batches(3), to_gpu):
        events.told.append("computing step")
    steps = [index for index, told in enumerate(events.told) if told == "computing step"]
    for number, step in enumerate(steps):
        copied = events.told.index(f"copying copies {100 + number}") + 1
        assert f"computing waits for copying@{copied}" in events.told[:step]
    # Batch 2 may get the memory of batch 0: its copy waits for step 0, which was told before.
    before = events.told.index("copying copies 2")
    assert events.told[before - 1] == f"copying waits for computing@{before - 1}"
    assert steps[0] < before - 1


def test_pinned_memory_is_held_until_its_copy_is_done(gpu: tuple[Events, ToGpu]) -> None:
    events, to_gpu = gpu
    image = np.zeros((1, 1, 1, 1), dtype=np.float32)
    for _ in range(3):
        to_gpu.send(image)
    assert len(to_gpu._copying) == 3
    events.finished.update(event.name for _, event in to_gpu._copying)
    to_gpu.send(image)
    assert len(to_gpu._copying) == 1


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_batch_that_cannot_be_read_ends_a_run_after_those_before_it(
    gpu: tuple[Events, ToGpu], broken: int
) -> None:
    fed = feeding(Batches(4, broken=broken), gpu[1])
    seen = [int(next(fed).batch.images.flat[0]) for _ in range(broken)]
    assert seen == list(range(broken))
    with pytest.raises(DataError, match=r"train\.txt:7"):
        next(fed)


def test_a_stream_of_random_numbers_is_not_drawn_from_ahead(gpu: tuple[Events, ToGpu]) -> None:
    batches = Batches(3, stream="state")
    next(feeding(batches, gpu[1]))
    assert batches.asked == 1


@pytest.mark.parametrize("channels", [3, 4])
def test_looking_up_on_a_device_gives_the_bits_of_the_table(channels: int) -> None:
    draws = np.random.default_rng(1)
    table = draws.normal(size=(channels, 256)).astype(np.float32)
    table[3:] = 0
    images = draws.integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    normalization = Normalization(table=table)
    found = Normalizer(normalization, on_gpu=True).look_up(paddle.to_tensor(images))
    assert found.numpy().tobytes() == normalization.apply(images).tobytes()


def rows(workshop: Workshop) -> list[dict[str, Any]]:
    kept = ("event", "epoch", "iter", "step", "loss", "top1", "top2", "CELoss", "lr", "samples")
    lines = (workshop.folder / "output" / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return [{key: row[key] for key in kept if key in row} for row in found if row["event"] != "checkpoint"]


MIXED = [{"MixupOperator": {"alpha": 0.2}}]


@pytest.mark.parametrize("batch_ops", [None, MIXED], ids=["plain", "mixed"])
def test_training_and_evaluation_are_the_same_bit_for_bit_with_uint8(
    workshop: Workshop, batch_ops: list[dict[str, Any]] | None
) -> None:
    changes: dict[str, Any] = {"Global__deterministic": True}
    ops = [{"DecodeImage": {}}, {"RandCropImage": {"size": 32}}, {"NormalizeImage": {**SHIFT, "order": ""}}]
    for split in ("Train", "Eval"):
        changes[f"DataLoader__{split}__dataset__transform_ops"] = ops
    if batch_ops:
        changes["DataLoader__Train__dataset__batch_transform_ops"] = batch_ops
        changes["Metric__Train"] = []
    found = []
    for where in ("reader", "device"):
        for split in ("Train", "Eval"):
            changes[f"DataLoader__{split}__loader"] = {"normalize_on": where}
        workshop.train(overwrite=True, **changes)
        found.append(rows(workshop))
    assert len(found[0]) > 6
    assert found[0] == found[1]


def test_who_normalises_follows_the_device_where_nothing_is_said(workshop: Workshop) -> None:
    config = workshop.config()
    loader = config.data.Train.loader
    assert loader.normalize_on == "auto"
    assert loader.hands_over_uint8(on_gpu=True)
    assert not loader.hands_over_uint8(on_gpu=False)
    lists = load_lists(config.data, class_num=3, evaluates=False)
    assert make_train_loader(config, lists, ranks=Ranks()).normalization is None
