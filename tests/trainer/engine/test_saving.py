"""Checkpoints that are written while training goes on: within epochs, in spite of errors, and to the end."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.trainer.engine.ranks import run_ranks
from trainer.checkpoints.background import BackgroundWriter
from trainer.checkpoints.pdfiles import read_arrays
from trainer.checkpoints.store import CheckpointStore
from trainer.engine.run_log import RunLog
from trainer.engine.train import Training
from trainer.errors import CheckpointError
from trainer.protocol.layout import CheckpointName, OutputLayout


class CrashError(Exception):
    """Stands for anything that ends a training without a save."""


def rows(folder: Path, event: str) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row for line in lines if (row := json.loads(line))["event"] == event]


def names(folder: Path) -> list[str]:
    return [str(name) for name in CheckpointStore(OutputLayout(folder)).manifests()]


@pytest.fixture
def at_step(monkeypatch):
    """Does something after steps of a training."""
    real = Training._advance

    def arrange(**what: Any) -> None:
        def advance(training: Training, *args: Any, **counted: Any) -> None:
            real(training, *args, **counted)
            if (act := what.get(f"step{training.state.step}")) is not None:
                training._saver.wait()  # what was handed over before is over
                act()

        monkeypatch.setattr(Training, "_advance", advance)

    return arrange


def crash() -> None:
    raise CrashError


def test_a_crash_within_an_epoch_goes_on_from_the_save_within_it_bit_for_bit(workshop, at_step):
    asked = {"Global__deterministic": True, "EMA": {"decay": 0.6}, "Global__save_every_steps": 2}
    whole, crashed = workshop.folder / "whole", workshop.folder / "crashed"
    workshop.train(**asked, Global__output_dir=str(whole), Global__keep_latest=9)
    assert names(whole) == ["e002-s000008", "e001-s000006", "e001-s000004", "e000-s000002"]
    at_step(step7=crash)
    with pytest.raises(CrashError):
        workshop.train(**asked, Global__output_dir=str(crashed))
    assert names(crashed)[0] == "e001-s000006"
    at_step()
    workshop.train(**asked, Global__output_dir=str(crashed), resume="latest")
    for name in ("latest.pdparams", "latest.pdema", "best_model.pdparams"):
        expected, found = read_arrays(whole / name), read_arrays(crashed / name)
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value, err_msg=f"{name} {key}")
    for event in ("epoch", "eval"):
        last = [
            {key: value for key, value in rows(of, event)[-1].items() if key not in ("time_s", "attempt")}
            for of in (whole, crashed)
        ]
        assert last[0] == last[1]


def test_a_save_every_so_many_minutes_comes_at_printed_steps(workshop):
    workshop.train(
        Global__save_every_minutes=1e-9, Global__print_batch_step=3, Global__keep_latest=9, Global__epochs=1
    )
    # Of the iterations 0 to 3 the first and the last are printed; the last is saved as the epoch's end.
    assert names(workshop.folder / "output") == ["e001-s000004", "e000-s000001"]


def test_two_ranks_agree_on_a_save_by_the_clock_of_one(workshop):
    changes = {"Global__save_every_minutes": 1e-9, "Global__print_batch_step": 1, "Global__keep_latest": 9}
    (workshop.folder / "cfg.yaml").write_text(yaml.safe_dump(workshop._document(changes)))
    run_ranks(2, "-m", "trainer", "train", "-c", str(workshop.folder / "cfg.yaml"))
    assert names(workshop.folder / "output") == [
        "e002-s000004", "e001-s000003", "e001-s000002", "e000-s000001",
    ]  # fmt: skip


def test_the_best_the_latest_and_each_second_epochs_are_kept(workshop):
    reached = workshop.train(
        Global__epochs=5, Global__keep_latest=1, Global__keep_best=2, Global__keep_every=2,
        Global__save_interval=3,
    )  # fmt: skip
    output = workshop.folder / "output"
    measured = {row["epoch"]: row["top1"] for row in rows(output, "eval")}
    best = sorted(measured, key=lambda epoch: (measured[epoch], epoch))[-2:]
    assert {name[:4] for name in names(output)} == {f"e{epoch:03d}" for epoch in {2, 4, 5, *best}}
    assert (output / "epoch_3.pdparams").is_file()
    assert reached.checkpoint is not None


def put_in_the_way(folder: Path) -> Any:
    """Return what makes saves fail, and what lets them succeed again."""
    checkpoints, aside = folder / ".ftlaunch/checkpoints", folder / "aside"

    def block() -> None:
        checkpoints.rename(aside)
        checkpoints.write_text("no folder")

    def free() -> None:
        checkpoints.unlink()
        aside.rename(checkpoints)

    return block, free


def test_a_save_that_fails_ends_the_run_at_the_next_step_and_leaves_the_one_before(workshop, at_step):
    output = workshop.folder / "output"
    block, free = put_in_the_way(output)
    at_step(step5=block)
    with pytest.raises(
        CheckpointError,
        match=r"output: expected to write a checkpoint, got .*expected a folder, got a file.*; mend that",
    ):
        workshop.train(Global__epochs=9, Global__save_every_steps=6)
    free()
    assert names(output) == ["e001-s000004"]
    assert 6 <= rows(output, "step")[-1]["step"] <= 8  # at the next save at the latest


def test_with_warn_a_save_that_fails_is_said_and_tried_again(workshop, at_step, capsys):
    output = workshop.folder / "output"
    block, free = put_in_the_way(output)
    at_step(step5=block, step10=free)
    workshop.train(Global__epochs=4, Global__on_save_error="warn", Global__keep_latest=9)
    said = capsys.readouterr().out
    assert "warning: e002-s000008 was not saved: " in said
    assert f"the last one is {output}/.ftlaunch/checkpoints/e001-s000004" in said
    assert names(output) == ["e004-s000016", "e003-s000012", "e001-s000004"]


def test_with_warn_a_run_whose_last_save_fails_is_an_error(workshop, at_step):
    block, _ = put_in_the_way(workshop.folder / "output")
    at_step(step5=block)
    with pytest.raises(CheckpointError, match="expected to write a checkpoint"):
        workshop.train(Global__on_save_error="warn")


def test_the_best_one_is_the_best_of_those_that_could_be_written(workshop, at_step, monkeypatch):
    output = workshop.folder / "output"
    block, free = put_in_the_way(output)
    at_step(step5=block, step9=free)

    def compare(training: Training, *of: Any) -> tuple[float, bool]:
        metric, best = {1: 0.2, 2: 0.9, 3: 0.4, 4: 0.3}[training.state.epoch], training.state.best_metric
        return metric, best is None or metric >= best

    monkeypatch.setattr(Training, "_compare", compare)

    workshop.train(Global__epochs=4, Global__on_save_error="warn", Global__keep_latest=9)
    store = CheckpointStore(OutputLayout(output))
    assert store.best().name == CheckpointName(3, 12)  # 0.4: that of 0.9 is lost
    state = json.loads((store.latest().folder / "state.json").read_text())
    assert (state["best_metric"], state["best_epoch"]) == (0.4, 3)
    best = read_arrays(output / "best_model.pdparams")
    for key, value in read_arrays(store.best().folder / "model.pdparams").items():
        np.testing.assert_array_equal(best[key], value)


def test_a_stop_waits_for_the_writer(workshop, monkeypatch):
    seen = []
    real = BackgroundWriter.hand_over

    def hand_over(writer: BackgroundWriter, order: Any) -> None:
        real(writer, order)
        os.kill(writer.pid, signal.SIGSTOP)  # as slow as a disk can be
        seen.append(writer.pid)
        signal.setitimer(signal.ITIMER_REAL, 0.3)

    monkeypatch.setattr(BackgroundWriter, "hand_over", hand_over)
    before = signal.signal(signal.SIGALRM, lambda *_: os.kill(seen[-1], signal.SIGCONT))
    try:
        workshop.train_and_stop(at=2)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert names(workshop.folder / "output") == ["e000-s000002"]


def test_lines_that_find_no_room_are_written_once_there_is(tmp_path):
    said: list[str] = []
    log = RunLog(tmp_path, metrics=tmp_path / "metrics.jsonl", attempt=1, say=said.append)
    log.row("step", step=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "metrics.jsonl").stat().st_size + 9, hard))
    try:
        log.row("step", step=2)
        log.row("step", step=3)
        assert [row["step"] for row in rows(tmp_path, "step")] == [1]  # and no half of a line
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.row("step", step=4)
    log.close()
    assert [row["step"] for row in rows(tmp_path, "step")] == [1, 2, 3, 4]
    assert len(said) == 1
    assert "metrics.jsonl: File too large; its lines wait" in said[0]
