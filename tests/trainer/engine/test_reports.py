"""The report that a training writes: what it says, that it changes nothing, what becomes of its faults."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from trainer.checkpoints.pdfiles import read_arrays
from trainer.config.load import load_config
from trainer.config.origins import describe_values
from trainer.engine import reports as reports_module
from trainer.engine.evaluate import Answers
from trainer.engine.reports import surest_mistakes
from trainer.engine.run import run_training
from trainer.ranks import Ranks


def train(workshop, *, report: bool = True, resume: str = "auto", **changes) -> Path:
    workshop.config(**changes)
    loaded = load_config(workshop.folder / "cfg.yaml")
    values = describe_values(loaded.config, loaded.document) if report else None
    run_training(loaded.config, Ranks(), resume=resume, values=values, say=print)
    return Path(loaded.config.run.output_dir)


def rows_of(output: Path, event: str) -> list[dict]:
    lines = (output / "metrics.jsonl").read_text().splitlines()
    return [row for line in lines if (row := json.loads(line))["event"] == event]


def test_a_training_writes_a_page_and_the_answers_of_what_it_keeps(workshop):
    (workshop.folder / "labels.txt").write_text("0 <b>oak</b>\n1 elm\n2 ash\n")
    output = train(workshop, Global__epochs=4, Global__keep_latest=1)
    evaluated = {row["epoch"]: row for row in rows_of(output, "eval")}
    best = max(evaluated, key=lambda epoch: (evaluated[epoch]["top1"], epoch))
    kept = {int(path.stem[-3:]) for path in output.glob("predictions-e*.csv")}
    assert kept == {best, 4}
    with (output / "predictions-e004.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["path"]).name for row in rows] == [f"val{index}.png" for index in range(6)]
    right = sum(row["label"] == row["top1"] for row in rows)
    assert right / 6 == pytest.approx(evaluated[4]["top1"])
    said = json.loads((output / "report.json").read_text())
    assert said["training"]["epoch"] == 4
    assert [row["epoch"] for row in said["training"]["evaluated"]] == [1, 2, 3, 4]
    origins = {value["key"]: value["origin"] for value in said["training"]["config"]}
    assert origins["Global.epochs"].startswith(f"{workshop.folder / 'cfg.yaml'}:")
    assert origins["Global.keep_best"] == "default"
    page = (output / "report.html").read_text()
    assert "&lt;b&gt;oak&lt;/b&gt;" in page
    assert "<b>oak" not in page
    assert page.count("<img") > 3 + 4  # the mistakes and the first batch
    assert "Training: epoch 4 of 4" in page


def test_a_report_changes_no_bit(workshop):
    output = train(workshop)
    other = train(workshop, report=False, Global__output_dir=str(workshop.folder / "other"))
    assert not list(other.glob("report*"))
    one, two = (read_arrays(folder / "latest.pdparams") for folder in (output, other))
    for key, value in one.items():
        np.testing.assert_array_equal(value, two[key], err_msg=key)


def test_a_resumed_run_marks_where_it_was_taken_up(workshop):
    train(workshop, Global__epochs=1)
    output = train(workshop, resume="latest", Global__epochs=2)
    assert [row["epoch"] for row in rows_of(output, "resumed")] == [1]
    assert json.loads((output / "report.json").read_text())["training"]["restarts"] == [1]
    assert "taken up again" in (output / "report.html").read_text()


def test_it_can_be_switched_off(workshop):
    output = train(workshop, Global__report=False)
    assert not [*output.glob("report*"), *output.glob("predictions*")]


def test_the_averaged_weights_have_their_answers_where_they_are_better(workshop):
    output = train(workshop, EMA={"decay": 0.0})  # the average is the weights, so that a tie keeps the plain
    assert "averaged weights (EMA)" not in (output / "report.html").read_text().split("How it went")[0]
    assert {"ema_top1", "top1"} <= set(
        json.loads((output / "report.json").read_text())["training"]["evaluated"][0]
    )


def test_a_process_that_dies_ends_no_training(workshop, monkeypatch, capsys):
    monkeypatch.setattr(
        reports_module, "python_command", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"]
    )
    output = train(workshop)
    assert len(rows_of(output, "eval")) == 2
    assert (output / "latest.pdparams").is_file()
    assert "process that makes the report ended with 3" in capsys.readouterr().out


def test_a_page_that_cannot_be_written_is_said(workshop, capsys):
    output = workshop.folder / "output"
    train(workshop, report=False, Global__epochs=1)
    (output / "report.html").mkdir()
    train(workshop, resume="latest", Global__epochs=2)
    assert "the report could not be written" in capsys.readouterr().out


def test_the_surest_mistakes_come_first():
    logits = np.array([[9, 0], [0, 5], [0, 7], [1, 0]], dtype=np.float32)
    answers = Answers(indices=np.arange(4), logits=logits, labels=np.array([[0], [0], [0], [1]]))
    assert surest_mistakes(answers).tolist() == [2, 1, 3]
    assert surest_mistakes(answers, most=1).tolist() == [2]
    several = Answers(indices=np.arange(4), logits=logits, labels=np.ones((4, 2), dtype=np.float32))
    assert surest_mistakes(several).tolist() == []
