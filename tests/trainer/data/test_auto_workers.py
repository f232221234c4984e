from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.trainer.data.conftest import RANDOM
from trainer.config.problems import ConfigError
from trainer.data.auto_workers import ReadTime, Room, choose_workers, measure_read_time
from trainer.data.loader import Loader
from trainer.extra import register_op

LONG = 1_000_000
BUSY = ReadTime(seconds=0.002, cpu_s=0.002)


@pytest.mark.parametrize(
    ("room", "each_takes", "count"),
    [
        (Room(cores=16, on_gpu=True), BUSY, 15),
        (Room(cores=16, ranks=4, on_gpu=True), BUSY, 3),
        (Room(cores=96, on_gpu=True), BUSY, 16),
        (Room(cores=1, on_gpu=True), BUSY, 1),
        (Room(cores=2.5, on_gpu=True), BUSY, 1),
        (Room(cores=8, ranks=8), BUSY, 0),
        (Room(cores=2), BUSY, 1),
        (Room(cores=32), BUSY, 4),
        (Room(cores=4, on_gpu=True), None, 3),
        (Room(cores=4, on_gpu=True), ReadTime(seconds=0.006, cpu_s=0.002), 9),
        (Room(cores=4, on_gpu=True), ReadTime(seconds=1.0, cpu_s=0.002), 12),
    ],
)
def test_the_number_follows_cores_ranks_device_and_waiting(
    room: Room, each_takes: ReadTime | None, count: int
) -> None:
    assert choose_workers(room, each_takes, images=LONG)[0] == count


def test_the_sentence_says_what_was_found() -> None:
    room = Room(cores=8, ranks=2, on_gpu=True)
    assert choose_workers(room, BUSY, images=LONG)[1] == (
        "3 reader processes, which read about 1500 images/s: 4 cores for each of 2 ranks, 2 ms an image"
    )
    short = choose_workers(room, BUSY, images=100)
    assert short == (
        0, "0: 4 cores for each of 2 ranks, 2 ms an image: an epoch is read before processes have started",
    )  # fmt: skip


def make(folder: Any, *, workers: object = "auto", room: Room | None = None, **loader: Any) -> Loader:
    return Loader(
        split=folder.split(ops=RANDOM, shuffle=True, loader={"num_workers": workers, **loader}),
        samples=folder.samples(), rank=0, world_size=1, seed=5, training=True, room=room,
    )  # fmt: skip


def test_a_pace_is_measured_on_what_can_be_read(folder: Any) -> None:
    folder.draw(10)
    for index in (0, 1, 4):
        (folder.path / f"{index:03d}.jpg").write_bytes(b"no image")
    loader = make(folder, bad_images="skip")
    each_takes = measure_read_time(loader.recipe)
    assert each_takes is not None
    assert each_takes.cpu_s > 0
    assert 0 < each_takes.seconds < 1
    assert loader.bad_images.take_unsaid() == []
    for file in folder.path.glob("*.jpg"):
        file.write_bytes(b"no image")
    assert measure_read_time(loader.recipe) is None


def test_auto_says_once_what_it_chose_and_reads_the_same(folder: Any) -> None:
    folder.draw(12)
    loader = make(folder)
    found = [batch.images.tobytes() for epoch in range(2) for batch in loader.batches(epoch)]
    said = loader.take_unsaid()
    assert len(said) == 1
    assert said[0].startswith("DataLoader.Train.loader.num_workers: auto: 0: ")
    assert said[0].endswith("an epoch is read before processes have started")
    assert found == [
        batch.images.tobytes() for epoch in range(2) for batch in make(folder, workers=0).batches(epoch)
    ]


def test_auto_reads_in_processes_where_that_is_worth_it(folder: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("trainer.data.auto_workers._SOON_S", 0.0)
    monkeypatch.setattr("trainer.data.loader.measure_read_time", lambda _: BUSY)  # not what else runs here
    folder.draw(12)
    loader = make(folder, room=Room(cores=3, on_gpu=True))
    found = [batch.images.tobytes() for batch in loader.batches(0)]
    assert "auto: 2 reader processes, which read about " in loader.take_unsaid()[0]
    assert found == [batch.images.tobytes() for batch in make(folder, workers=0).batches(0)]
    loader.close()


def test_one_stream_of_draws_is_read_in_the_training_process(folder: Any) -> None:
    folder.draw(8)
    loader = make(folder, rng="paddleclas")
    list(loader.batches(0))
    assert loader.take_unsaid() == [
        "DataLoader.Train.loader.num_workers: auto: 0: rng: paddleclas draws in the order of reading"
    ]


def test_operations_of_the_program_itself_are_refused_by_name(folder: Any, monkeypatch: Any) -> None:
    from trainer.config import extras

    folder.draw(8)

    def factory() -> Any:
        return lambda image, rng: image

    monkeypatch.setattr(factory, "__module__", "__main__")
    try:
        register_op("OfTheProgram")(factory)
        ops = [*RANDOM[:-1], {"OfTheProgram": {}}, RANDOM[-1]]

        def of(workers: object) -> Loader:
            return Loader(
                split=folder.split(ops=ops, loader={"num_workers": workers}), samples=folder.samples(),
                rank=0, world_size=1, seed=5, training=True,
            )  # fmt: skip

        with pytest.raises(
            ConfigError, match=r"OfTheProgram: expected an operation of a module, which reader"
        ):
            of(2)
        loader = of("auto")
        list(loader.batches(0))
        assert "cannot be imported by other processes" in loader.take_unsaid()[0]
    finally:
        extras.forget()


def test_elsewhere_than_on_linux_images_are_read_in_the_training_process(
    folder: Any, monkeypatch: Any
) -> None:
    folder.draw(8)
    loader = make(folder, workers=3)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert len(list(loader.batches(0))) == 2
    assert loader.take_unsaid() == [
        "DataLoader.Train.loader.num_workers: reader processes need Linux; images are read in this one"
    ]


@pytest.mark.parametrize("wrong", ["many", "4", -1, 2000, True, 1.5])
def test_other_values_are_refused(folder: Any, wrong: object) -> None:
    with pytest.raises(ValueError, match="auto"):
        folder.split(loader={"num_workers": wrong})
