from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest

from trainer.checkpoints.pdfiles import read_arrays, read_pdfile
from trainer.config.problems import ConfigError
from trainer.engine import train as train_module
from trainer.engine.changes import list_changes
from trainer.engine.evaluate import evaluate_weights
from trainer.engine.trained import choose_weights
from trainer.errors import (
    CheckpointError,
    DataError,
    DivergedError,
    InterruptedRunError,
    OutputRefusedError,
    StoppedError,
    TrainerError,
    WeightsError,
)
from trainer.protocol.heartbeat import Heartbeats, Phase
from trainer.protocol.runfile import RunFile, load_run_file, save_run_file
from trainer.protocol.writerlock import WriterLock, describe_self, load_owner
from trainer.ranks import Ranks

STEPS = 4  # of an epoch: 15 images in batches of 4


def rows(workshop, event: str = "step", output: str = "output") -> list[dict]:
    lines = (workshop.folder / output / "metrics.jsonl").read_text().splitlines()
    return [row for line in lines if (row := json.loads(line))["event"] == event]


def weights(workshop, output: str = "output", name: str = "latest") -> dict:
    return read_arrays(workshop.folder / output / f"{name}.pdparams")


def assert_same(one: dict, other: dict) -> None:
    assert list(one) == list(other)
    for key, value in one.items():
        np.testing.assert_array_equal(value, other[key], err_msg=key)


def test_a_training_leaves_what_its_documentation_lists(workshop, capsys):
    reached = workshop.train(Global__save_interval=1)
    output = workshop.folder / "output"
    names = {path.name for path in output.iterdir()}
    for name in ("latest", "best_model", "epoch_1", "epoch_2"):
        assert {f"{name}.pdparams", f"{name}.pdopt", f"{name}.pdstates"} <= names
    assert {"train.log", "metrics.jsonl", ".ftlaunch"} <= names
    assert reached.step == 2 * STEPS
    assert Path(reached.checkpoint).name == "e002-s000008"
    assert read_pdfile(output / "latest.pdstates")["epoch"] == 2
    printed = capsys.readouterr().out
    assert "[Train][Epoch 1/2][Iter: 0/4]lr: 0.00000000, CELoss: " in printed
    assert "[Eval][Epoch 2][Avg]CELoss: " in printed
    log = (output / "train.log").read_text().splitlines()
    assert all(re.match(r"\[\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\] trainer INFO: ", line) for line in log)
    assert [line.partition(" trainer INFO: ")[2] for line in log] == printed.splitlines()


def test_rows_of_metrics_say_what_a_step_was(workshop):
    workshop.train()
    found = rows(workshop)
    assert [(row["epoch"], row["iter"], row["step"]) for row in found] == [
        (epoch, step, (epoch - 1) * STEPS + step + 1) for epoch in (1, 2) for step in range(STEPS)
    ]
    assert [row["samples"] for row in found[:STEPS]] == [4, 4, 4, 3]
    assert [row["lr"] for row in found[:STEPS]] == pytest.approx([0, 0.0025, 0.005, 0.0075])
    for row in found:
        assert {"attempt", "time_s", "loss", "CELoss", "top1", "top2", "images_per_s", "reader_s"} <= set(row)


def test_the_same_config_gives_the_same_bits(workshop):
    workshop.train()
    workshop.train(Global__output_dir=str(workshop.folder / "again"))
    assert_same(weights(workshop), weights(workshop, "again"))


def test_another_seed_gives_other_weights(workshop):
    workshop.train()
    workshop.train(Global__output_dir=str(workshop.folder / "again"), Global__seed=4)
    one, other = weights(workshop), weights(workshop, "again")
    assert any((one[key] != other[key]).any() for key in one)


@pytest.mark.parametrize("at", [1, 3, STEPS, STEPS + 1, 3 * STEPS - 1])
@pytest.mark.parametrize("rng", ["per_sample", "paddleclas"])
def test_a_stopped_training_goes_on_bit_for_bit(workshop, at, rng):
    same = {"Global__epochs": 3, "DataLoader__Train__loader": {"num_workers": 0, "rng": rng}}
    if rng == "paddleclas":  # dropout draws from a stream that is not saved there
        same["Arch__dropout_prob"] = 0.0
    workshop.train(**same)
    halves = {**same, "Global__output_dir": str(workshop.folder / "halves")}
    workshop.train_and_stop(at=at, **halves)
    reached = workshop.train(**halves, resume="latest")
    assert reached.step == 3 * STEPS
    assert_same(weights(workshop), weights(workshop, "halves"))
    losses = {row["step"]: row["loss"] for row in rows(workshop, output="halves")}
    assert losses == {row["step"]: row["loss"] for row in rows(workshop)}
    assert rows(workshop, "eval", "halves")[-1]["loss"] == rows(workshop, "eval")[-1]["loss"]
    assert means(workshop, "halves") == means(workshop)
    state = [workshop.folder / output / "latest.pdopt" for output in ("output", "halves")]
    assert_same(*(flat(read_pdfile(path)) for path in state))


def means(workshop, output="output"):
    """What the rows of epochs say of the training, but for when it was."""
    left_out = ("attempt", "time_s")
    return [
        {key: value for key, value in row.items() if key not in left_out}
        for row in rows(workshop, "epoch", output)
    ]


def flat(value, name=""):
    """The arrays of a nested state by their places."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = {}
    for key, item in items:
        if isinstance(item, dict | list | tuple):
            found |= flat(item, f"{name}.{key}")
        elif isinstance(item, np.ndarray):
            found[f"{name}.{key}"] = item
    return found


def test_a_shortened_epoch_that_was_stopped_has_no_more_steps_than_one_that_was_not(workshop):
    workshop.train_and_stop(at=1, Global__iter_per_epoch=3)
    assert workshop.train(Global__iter_per_epoch=3, resume="latest").step == 6
    assert [(row["epoch"], row["iter"]) for row in rows(workshop)] == [
        (epoch, step) for epoch in (1, 2) for step in range(3)
    ]


def test_ctrl_c_saves_too(workshop, monkeypatch):
    real = train_module.Training._advance

    def advance(self, epoch, batch, **counted):
        real(self, epoch, batch, **counted)
        if self.state.step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(train_module.Training, "_advance", advance)
    with pytest.raises(InterruptedRunError, match="--resume latest"):
        workshop.train()
    assert weights(workshop)


def test_heartbeats_are_kept_true_and_their_stop_step_is_heeded(workshop):
    path = workshop.folder / "heartbeats"
    heartbeats = Heartbeats.create(path, ranks=1)
    heartbeats.request_stop(3)
    run_id = "ab" * 16
    (workshop.folder / "output").mkdir()
    save_run_file(workshop.folder / "output", RunFile(run_id=run_id, first_start_s=0.0))
    ranks = Ranks(run_id=run_id, heartbeats=path, attempt=2)
    with pytest.raises(StoppedError, match="stopped after step 3"):
        workshop.train(ranks=ranks)
    record = heartbeats.read(0)
    assert (record.step, record.epoch, record.phase, record.total_steps) == (3, 0, Phase.SAVE, 2 * STEPS)
    assert record.loss > 0
    assert {row["attempt"] for row in rows(workshop)} == {2}
    heartbeats.request_stop(-1)
    workshop.train(ranks=ranks)  # auto: the folder is this run's
    assert heartbeats.read(0).phase == Phase.DONE
    assert rows(workshop)[-1]["step"] == 2 * STEPS


def test_a_loss_that_is_no_number_ends_the_run_and_saves_nothing(workshop):
    with pytest.raises(
        DivergedError,
        match=r"step \d+: expected a finite loss, got (nan|inf) \(learning rate .*\); lower Optimizer",
    ):
        workshop.train(Optimizer__lr={"learning_rate": 1e30})
    assert not (workshop.folder / "output" / "latest.pdparams").exists()


def test_a_bad_list_is_refused_before_the_output_folder_is_touched(workshop):
    (workshop.folder / "train.txt").write_text("train0.png 7\nnone.png 0\n")
    with pytest.raises(DataError) as refused:
        workshop.train()
    assert len(refused.value.problems) == 2
    assert not (workshop.folder / "output").exists()


def test_the_output_of_another_run_is_refused_and_left_alone(workshop):
    workshop.train(Global__epochs=1)
    before = weights(workshop)
    with pytest.raises(OutputRefusedError, match="--resume latest"):
        workshop.train()
    assert_same(before, weights(workshop))
    assert load_owner(workshop.folder / "output/.ftlaunch/writer.lock") is None


def test_overwrite_takes_the_folder_and_keeps_the_old_run_aside(workshop):
    workshop.train(Global__epochs=1)
    old = load_run_file(workshop.folder / "output").run_id
    workshop.train(Global__epochs=1, overwrite=True)
    assert load_run_file(workshop.folder / "output").run_id != old
    aside = workshop.folder / "output" / f".ftlaunch-{old[:12]}"
    assert (aside / "checkpoints").is_dir()
    for kept in (aside, workshop.folder / "output"):  # each run's rows by themselves
        steps = [json.loads(line) for line in (kept / "metrics.jsonl").read_text().splitlines()]
        assert sum(row["event"] == "step" for row in steps) == STEPS


def test_a_folder_that_another_run_writes_to_is_refused_even_with_overwrite(workshop):
    import time

    path = workshop.folder / "output/.ftlaunch/writer.lock"
    path.parent.mkdir(parents=True)
    save_run_file(workshop.folder / "output", RunFile(run_id="cd" * 16, first_start_s=0.0))
    WriterLock.acquire(path, describe_self(run_id="cd" * 16, now_s=time.time()))
    with pytest.raises(OutputRefusedError):
        workshop.train(resume="never")


def test_a_folder_that_cannot_be_written_is_said_so(workshop):
    (workshop.folder / "output").write_text("a file")
    with pytest.raises(CheckpointError, match="expected a folder to write to"):
        workshop.train()


def test_global_checkpoints_goes_on_as_in_paddleclas(workshop):
    workshop.train(Global__epochs=1)
    workshop.train(Global__checkpoints=str(workshop.folder / "output" / "latest"))
    whole = workshop.folder / "whole"
    workshop.train(Global__output_dir=str(whole), Global__epochs=1)
    workshop.train(
        Global__output_dir=str(workshop.folder / "other"), Global__checkpoints=str(whole / "epoch_1")
    )
    assert {row["epoch"] for row in rows(workshop, output="other")} == {2}
    assert rows(workshop)[-1]["loss"] == rows(workshop, output="other")[-1]["loss"]


def test_pretrained_weights_are_loaded_but_for_the_head(workshop, capsys):
    workshop.train(Global__epochs=1)
    lists = {"Arch__class_num": 5, "Global__output_dir": str(workshop.folder / "tuned"), "Global__epochs": 1}
    workshop.train(**lists, Arch__pretrained=str(workshop.folder / "output/best_model"))
    said = capsys.readouterr().out
    assert "2 of another shape, left as initialised: fc.weight (expected [64, 5], got [64, 3])" in said


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "no such file"), (b"x", "expected a file of paddle.save")],
    ids=["missing", "broken"],
)
def test_pretrained_weights_that_cannot_be_used_are_refused(workshop, content, says):
    path = workshop.folder / "weights.pdparams"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=says):
        workshop.train(Global__pretrained_model=str(path))


def test_accumulated_gradients_move_the_weights_once_a_group(workshop):
    workshop.train(Global__update_freq=2, Global__epochs=1)
    assert [row["step"] for row in rows(workshop)] == [0, 1, 1, 2]


def test_iter_per_epoch_shortens_an_epoch(workshop):
    workshop.train(Global__iter_per_epoch=2)
    assert [(row["epoch"], row["iter"]) for row in rows(workshop)] == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_evaluations_come_when_they_are_due(workshop):
    workshop.train(Global__epochs=4, Global__eval_interval=2, Global__start_eval_epoch=3)
    assert [row["epoch"] for row in rows(workshop, "eval")] == [4]


def test_a_run_that_is_shorter_than_its_interval_is_evaluated_at_its_end(workshop):
    workshop.train(Global__epochs=3, Global__eval_interval=10)
    assert [row["epoch"] for row in rows(workshop, "eval")] == [3]
    assert (workshop.folder / "output/best_model.pdparams").is_file()


def test_an_evaluation_afterwards_gives_what_training_gave(workshop):
    workshop.train()
    expected = rows(workshop, "eval")[-1]
    found = evaluate_weights(workshop.config(), Ranks(), weights=workshop.folder / "output/latest.pdparams")
    assert found.values["loss"] == pytest.approx(expected["loss"], rel=1e-6)
    assert found.values["top1"] == expected["top1"]


def test_an_evaluation_without_weights_says_what_to_do(workshop):
    with pytest.raises(WeightsError, match="train first, or pass --weights"):
        evaluate_weights(workshop.config(), Ranks(), weights=None)


def test_an_evaluation_with_another_models_weights_is_refused(workshop):
    path = workshop.folder / "other.pdparams"
    paddle.save({"fc.weight": paddle.zeros([2, 2])}, str(path))
    with pytest.raises(WeightsError, match="use the config that they were trained with"):
        evaluate_weights(workshop.config(), Ranks(), weights=path)


def test_pretrained_true_means_paddleclas_own_copy(workshop, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(
        WeightsError, match=r"downloads are off; put it at .*PPLCNet_x0_25_pretrained\.pdparams"
    ):
        workshop.train(Arch__pretrained=True)
    workshop.train(Global__epochs=1, overwrite=True)
    cache = tmp_path / "home/.paddleclas/weights"
    cache.mkdir(parents=True)
    (workshop.folder / "output/latest.pdparams").rename(cache / "PPLCNet_x0_25_pretrained.pdparams")
    workshop.train(Arch__pretrained=True, overwrite=True)


def test_one_stream_of_draws_is_refused_with_several_ranks(workshop):
    with pytest.raises(ConfigError, match=r"DataLoader\.Train\.loader\.rng: expected one rank"):
        workshop.train(
            ranks=Ranks(rank=0, world_size=2),
            DataLoader__Train__loader={"num_workers": 0, "rng": "paddleclas"},
        )


def damage(workshop, *names: str, output: str = "output") -> None:
    for name in names:
        file = workshop.folder / output / ".ftlaunch" / "checkpoints" / name / "model.pdparams"
        os.truncate(file, 100)


def test_damaged_checkpoints_are_named_and_nothing_begins_anew(workshop):
    workshop.train()
    damage(workshop, "e001-s000004", "e002-s000008")
    before = (workshop.folder / "output" / "metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match="expected a whole checkpoint, got 2 damaged") as caught:
        workshop.train(Global__epochs=3, resume="latest")
    assert "e002-s000008/model.pdparams: expected " in str(caught.value)
    assert "got 100; it is cut short" in str(caught.value)
    assert (workshop.folder / "output" / "metrics.jsonl").read_bytes() == before


def test_an_older_checkpoint_is_taken_with_a_sentence(workshop, capsys):
    workshop.train()
    damage(workshop, "e002-s000008")
    capsys.readouterr()
    workshop.train(Global__epochs=3, resume="latest")
    printed = capsys.readouterr().out
    assert "warning: a damaged checkpoint is passed over: " in printed
    assert "e001-s000004, which is older" in printed
    assert [row["step"] for row in rows(workshop)][-8:] == list(range(5, 13))


def test_weights_to_evaluate_are_not_others_where_they_are_damaged(workshop):
    workshop.train()
    best = (workshop.folder / "output/.ftlaunch/checkpoints/best").read_text().strip()
    damage(workshop, best)
    with pytest.raises(CheckpointError, match=r"expected whole weights, got damaged ones: .*--weights FILE"):
        evaluate_weights(workshop.config(), Ranks(), weights=None)


def test_a_folder_that_lost_its_checkpoints_goes_on_from_paddleclas_files(workshop, capsys):
    workshop.train()
    shutil.rmtree(workshop.folder / "output/.ftlaunch/checkpoints")
    capsys.readouterr()
    workshop.train(Global__epochs=3, resume="latest")
    assert "resuming from " in capsys.readouterr().out
    assert rows(workshop)[-1]["step"] == 3 * STEPS
    assert len(rows(workshop)) == 3 * STEPS


def test_going_on_from_a_folder_without_any_is_said(workshop, capsys):
    workshop.train(resume="latest")
    assert "has no checkpoint to go on from: training begins anew" in capsys.readouterr().out


def test_what_the_config_changed_since_is_said(workshop, capsys):
    workshop.train()
    (workshop.folder / "train.txt").write_text((workshop.folder / "train.txt").read_text() + "val0.png 0\n")
    capsys.readouterr()
    workshop.train(
        Global__epochs=3, Optimizer__lr__learning_rate=0.05, Global__print_batch_step=9, resume="latest",
        DataLoader__Train__loader={"num_workers": 1},
    )  # fmt: skip
    printed = capsys.readouterr().out
    (said,) = [line for line in printed.splitlines() if "changed since the checkpoint was saved: " in line]
    assert "Global.epochs: 3, was 2" in said
    assert "Optimizer.lr.learning_rate: 0.05, was 0.01" in said
    assert "DataLoader.Train: content of the list: " in said
    assert "print_batch_step" not in said
    assert "num_workers" not in said
    assert "warning: the learning rate jumps from " in printed


def test_nothing_is_said_of_a_config_that_did_not_change(workshop, capsys):
    workshop.train_and_stop(at=2)
    workshop.train(resume="latest")
    printed = capsys.readouterr().out
    assert "changed since" not in printed
    assert "jumps" not in printed


@pytest.mark.parametrize("resume", ["auto", "latest"])
def test_a_start_that_saved_nothing_leaves_the_folder_free(workshop, resume):
    (workshop.folder / "train7.png").write_bytes(b"no image")
    with pytest.raises(DataError):
        workshop.train()
    cv2.imwrite(str(workshop.folder / "train7.png"), np.zeros((32, 32, 3), np.uint8))
    assert workshop.train(resume=resume).step == 2 * STEPS


LINKED = [
    ".ftlaunch/run.json", "metrics.jsonl", "train.log", ".ftlaunch/checkpoints/latest",
    ".ftlaunch/checkpoints/best.tmp", "latest.pdparams", "latest.pdopt.tmp", "best_model.pdstates",
    "best_model", "best_model/model.pdparams.tmp", ".ftlaunch", ".ftlaunch/checkpoints",
    ".ftlaunch/checkpoints/e003-s000012", ".ftlaunch/checkpoints/e003-s000012.tmp", ".ftlaunch/writer.lock",
]  # fmt: skip


@pytest.mark.parametrize("place", LINKED)
def test_no_link_in_the_output_folder_is_followed(workshop, place):
    workshop.train()
    precious = workshop.folder / "precious"
    (precious / "folder").mkdir(parents=True)
    for file in (precious / "file", precious / "folder" / "model.pdparams"):
        file.write_text("precious")
    link = workshop.folder / "output" / place
    if link.is_dir():
        shutil.rmtree(link)
    link.unlink(missing_ok=True)
    is_folder = place in (".ftlaunch", "best_model") or place.startswith((".ftlaunch/checkpoints/e", "."))
    link.symlink_to(precious / ("folder" if is_folder and "." not in Path(place).suffix[1:] else "file"))
    with contextlib.suppress(TrainerError):
        workshop.train(Global__epochs=3, resume="latest")
    assert (precious / "file").read_text() == "precious"
    assert [path.name for path in (precious / "folder").iterdir()] == ["model.pdparams"]
    assert (precious / "folder" / "model.pdparams").read_text() == "precious"


def test_an_evaluation_is_told_beside_always_answering_the_largest_class(workshop, capsys):
    workshop.train(Global__epochs=1)
    labels = [line.split()[-1] for line in (workshop.folder / "val.txt").read_text().splitlines()]
    floor = max(labels.count(label) for label in labels) / len(labels)
    [row] = rows(workshop, "eval")
    assert row["largest_class"] == pytest.approx(floor)
    assert f"always answering the largest class: {floor:.3g}" in capsys.readouterr().out


def test_weights_are_those_of_this_network_where_another_run_is_newer(workshop):
    """Runs beside each other, each in a folder of its own, as jobs of one name and two configs leave them."""
    runs = workshop.folder / "runs"
    workshop.train(Global__epochs=1, Global__output_dir=str(runs / "first"))
    other = {"Global__epochs": 1, "Arch__name": "PPLCNet_x0_35"}
    workshop.train(**other, Global__output_dir=str(runs / "second"))
    run = load_run_file(runs / "second")
    save_run_file(runs / "second", replace(run, first_start_s=run.first_start_s + 60))
    mine = workshop.config(Global__output_dir=str(runs / "second"))
    assert choose_weights(mine.run, mine.arch).is_relative_to(runs / "first")
    theirs = workshop.config(**other, Global__output_dir=str(runs / "second"))
    assert choose_weights(theirs.run, theirs.arch).is_relative_to(runs / "second")
    shutil.rmtree(runs / "first")
    with pytest.raises(WeightsError, match=r"expected a run of this config, got one that trained Arch\.name"):
        choose_weights(mine.run, mine.arch)


def test_a_key_that_is_younger_than_the_checkpoint_is_said_only_where_it_is_set():
    before = {"Global.epochs": 2, "Arch.name": "a"}
    now = {**before, "Global.on_nan": "stop", "Global.early_stopping": None}
    assert list_changes(before, now) == []
    assert list_changes(before, {**now, "Global.on_nan": "skip", "Global.epochs": 3}) == [
        "Global.epochs: 3, was 2", "Global.on_nan: skip, was nothing",
    ]  # fmt: skip
    assert list_changes(now, before)  # one that is gone is said
    inner = {**before, "DataLoader.Train.loader.decode": "exact", "AMP.level": "O1", "Optimizer.new": 1}
    assert list_changes(before, inner) == ["Optimizer.new: 1, was nothing"]
    assert list_changes(before, {**before, "DataLoader.Train.loader.decode": "fast"}) == [
        "DataLoader.Train.loader.decode: fast, was nothing"
    ]
