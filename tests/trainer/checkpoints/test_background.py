from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.checkpoints.background import BackgroundWriter
from trainer.checkpoints.contents import Contents, OptimizerState, as_files, load_contents
from trainer.checkpoints.state import SamplerState, TrainState
from trainer.checkpoints.store import CheckpointStore
from trainer.checkpoints.writer import Order
from trainer.protocol.layout import CheckpointName, Keep, Manifest, OutputLayout, explain_kept

RUN_ID = "0123456789abcdef" * 2


def make_order(folder: Path, step: int = 10, *, size: int = 1000, best: bool = False) -> Order:
    values = np.arange(size, dtype=np.float32) + step
    state = TrainState(
        run_id=RUN_ID, epoch=1, step=step, sampler=SamplerState(epoch=1, world_size=1, cursor=0)
    )
    weights = {
        "plain": values, "half": values.astype(np.uint16), "number": np.asarray(3.5), "none": values[:0],
        "turned": values[:6].reshape(2, 3).T, "parts": values[::3], "flags": values > 20,
    }  # fmt: skip
    contents = Contents(
        weights=weights, automatic_names={key: f"{key}_0" for key in weights},
        optimizers=[OptimizerState(arrays={"m": values * 2}, learning_rate=0.1)] * 2, state=state,
        average={key: value.copy() for key, value in weights.items()}, settings={"Global.epochs": 3},
    )  # fmt: skip
    return Order(
        output_dir=folder, contents=contents,
        about=Manifest(
            run_id=RUN_ID, files={}, metric=0.5, names=("latest", *(["best_model"] if best else []))
        ),
    )  # fmt: skip


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def writer(said):
    made = BackgroundWriter(os.environ, say=said.append)
    yield made
    made.close()


def wait(writer: BackgroundWriter):
    ended = writer.wait()
    assert ended is not None
    return ended


def test_what_is_written_are_the_values_of_the_moment_of_the_save(tmp_path, writer):
    order = make_order(tmp_path, best=True)
    expected = {key: value.copy() for key, value in order.contents.weights.items()}
    writer.hand_over(order)
    for value in order.contents.weights.values():
        value[...] = 0  # the next step
    ended = wait(writer)
    assert ended.failure == ""
    found = load_contents(CheckpointStore(OutputLayout(tmp_path)).verify(CheckpointName(1, 10)))
    for key, value in expected.items():
        assert found.weights[key].dtype == value.dtype
        np.testing.assert_array_equal(found.weights[key], value)
    assert found.settings == {"Global.epochs": 3}
    assert [item.learning_rate for item in found.optimizers] == [0.1, 0.1]
    assert (tmp_path / "latest.pdparams").is_file()


def test_the_files_are_those_of_a_save_in_the_process_itself(tmp_path, writer):
    order = make_order(tmp_path / "beside")
    writer.hand_over(order)
    wait(writer)
    CheckpointStore(OutputLayout(tmp_path / "here")).save(
        order.name, as_files(order.contents), run_id=RUN_ID, about=order.about
    )
    ours, theirs = (tmp_path / of / ".ftlaunch/checkpoints/e001-s000010" for of in ("beside", "here"))
    assert {path.name: path.read_bytes() for path in ours.iterdir()} == {
        path.name: path.read_bytes() for path in theirs.iterdir()
    }


def test_one_process_and_its_memory_serve_saves_of_any_size(tmp_path, writer):
    pids = set()
    for step, size in enumerate((100, 200_000, 50, 400_000), start=1):
        writer.hand_over(make_order(tmp_path, step, size=size))
        assert wait(writer).failure == ""
        pids.add(writer.pid)
    assert len(pids) == 1
    assert CheckpointStore(OutputLayout(tmp_path)).latest().name == CheckpointName(1, 4)


def test_a_writer_that_is_killed_is_started_again_with_the_same_snapshot(tmp_path, writer, said):
    order = make_order(tmp_path, size=4_000_000)
    writer.hand_over(order)
    os.kill(writer.pid, signal.SIGKILL)
    ended = wait(writer)
    assert ended.failure == ""
    assert "SIGKILL" in said[0]
    assert "started again" in said[0]
    assert CheckpointStore(OutputLayout(tmp_path)).latest().name == CheckpointName(1, 10)


def test_a_writer_that_is_killed_twice_over_one_save_fails_and_serves_the_next_one(tmp_path, writer):
    writer.hand_over(make_order(tmp_path, size=4_000_000))
    first = writer.pid
    os.kill(first, signal.SIGKILL)
    while writer.pid == first and writer.is_busy:
        assert writer.poll(0.01) is None
    os.kill(writer.pid, signal.SIGKILL)
    ended = wait(writer)
    assert ended.checkpoint is None
    assert "ended twice: SIGKILL" in ended.failure
    writer.hand_over(make_order(tmp_path, 20))
    assert wait(writer).failure == ""


def test_a_writer_that_dies_between_saves_is_started_again_for_the_next_one(tmp_path, writer):
    writer.hand_over(make_order(tmp_path, 10))
    wait(writer)
    os.kill(writer.pid, signal.SIGKILL)
    time.sleep(0.1)
    writer.hand_over(make_order(tmp_path, 20))
    assert wait(writer).failure == ""


def test_what_the_system_refuses_is_told_and_the_checkpoint_before_stays(tmp_path, writer):
    writer.hand_over(make_order(tmp_path, 10))
    wait(writer)
    (tmp_path / "latest.pdopt").unlink()
    (tmp_path / "latest.pdopt").mkdir()
    (tmp_path / "latest.pdopt/somebody's").touch()
    writer.hand_over(make_order(tmp_path, 20))
    ended = wait(writer)
    assert ended.checkpoint is None
    assert "latest.pdopt" in ended.failure
    assert ended.errno != 0
    assert CheckpointStore(OutputLayout(tmp_path)).latest() is not None


def test_signals_to_all_processes_leave_the_writer_to_its_work(tmp_path, writer):
    writer.hand_over(make_order(tmp_path, size=2_000_000))
    time.sleep(0.5)  # it has begun
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(writer.pid, number)
    assert wait(writer).failure == ""


def name(epoch: int, step: int) -> CheckpointName:
    return CheckpointName(epoch, step)


def manifest(metric: float | None, *, ends_epoch: bool = True, less: bool = False) -> Manifest:
    return Manifest(run_id=RUN_ID, files={}, metric=metric, ends_epoch=ends_epoch, less_is_better=less)


def test_why_each_checkpoint_is_kept():
    found = {
        name(1, 10): manifest(0.3), name(2, 20): manifest(0.9), name(2, 25): manifest(None, ends_epoch=False),
        name(3, 30): manifest(0.8), name(4, 40): manifest(0.1), name(4, 45): manifest(None, ends_epoch=False),
    }  # fmt: skip
    why = explain_kept(found, Keep(latest=2, best=2, every=4), latest=name(4, 45), best=name(2, 20))
    assert why == {
        name(4, 45): ("latest",), name(4, 40): ("latest", "every"), name(3, 30): ("best",), name(2, 25): (),
        name(2, 20): ("best",), name(1, 10): (),
    }  # fmt: skip


def test_of_metrics_that_count_mistakes_the_lowest_are_kept_and_of_equals_the_later():
    found = {name(n, 10 * n): manifest(value, less=True) for n, value in enumerate((0.5, 0.2, 0.2, 0.9), 1)}
    why = explain_kept(found, Keep(latest=1, best=2))
    assert [str(key) for key, reasons in why.items() if "best" in reasons] == ["e003-s000030", "e002-s000020"]
    alone = explain_kept(found, Keep(latest=1, best=1), best=name(1, 10))
    assert [key.epoch for key, reasons in alone.items() if "best" in reasons] == [1]


def test_a_run_that_goes_on_from_an_earlier_step_keeps_what_it_points_to(tmp_path):
    store = CheckpointStore(OutputLayout(tmp_path))
    for step in (30, 20, 10):  # the last one is the latest, by its pointer
        order = make_order(tmp_path, step)
        files, about = as_files(order.contents), replace(order.about, metric=None)
        store.save(order.name, files, run_id=RUN_ID, about=about)
    assert [key.step for key in store.prune(Keep(latest=1))] == [20]
    assert store.latest().name.step == 10
