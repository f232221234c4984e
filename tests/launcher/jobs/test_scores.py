"""The best evaluation of a run, from the rows of its metrics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.jobs.metrics import Score, choose_metric, find_score, parse_rows, read_metrics_here
from trainer.protocol.jobfile import JobFile, format_job_file

RUN_ID = "ab" * 16


def evaluated(epoch: int, **values: object) -> dict[str, object]:
    return {"event": "eval", "attempt": 1, "time_s": 1.0, "epoch": epoch, "step": 9 * epoch, **values}


def saved(epoch: int, *, best: float) -> dict[str, object]:
    return {"event": "checkpoint", "epoch": epoch, "best": best}


def test_the_first_metric_behind_the_losses_chooses():
    row = evaluated(1, CELoss=1.0, loss=1.0, top1=0.5, top5=0.9, ema_top1=0.6, largest_class=0.2)
    assert choose_metric(row) == "top1"
    assert choose_metric(evaluated(1, loss=1.0, largest_class=0.2)) is None


def test_the_best_is_what_the_trainer_has_saved_as_such():
    rows = [
        evaluated(1, loss=1.0, hamming=0.3), saved(1, best=1.0),
        evaluated(2, loss=1.0, hamming=0.1), saved(2, best=1.0),
        evaluated(3, loss=1.0, hamming=0.2), saved(3, best=0.0),
    ]  # fmt: skip
    assert find_score(rows) == Score(metric="hamming", value=0.1, epoch=2)
    unsaved = [row for row in rows if row["event"] == "eval"]
    assert find_score(unsaved) == Score(metric="hamming", value=0.3, epoch=1)


def test_the_average_of_the_weights_counts_where_it_is_better_and_a_repeated_epoch_once():
    rows = [
        evaluated(1, loss=1.0, top1=0.9), evaluated(1, loss=1.0, top1=0.5, largest_class=0.25),
        evaluated(2, loss=1.0, top1=0.4, ema_top1=0.6, largest_class=0.25),
    ]  # fmt: skip
    assert find_score(rows) == Score(metric="top1", value=0.6, epoch=2, largest_class=0.25)


@pytest.mark.parametrize(
    "odd",
    [
        {"epoch": [1]}, {"epoch": "1"}, {"loss": {}, "top1": None}, {"loss": 1, "top1": "x"},
        {"loss": 1, "top1": True}, {"loss": 1, "x" * 200: 1.0},
    ],
)  # fmt: skip
def test_rows_of_others_are_no_score(odd):
    assert find_score([{**evaluated(1), **odd}, {"event": "checkpoint", "epoch": {}, "best": 1}]) is None


def test_half_a_row_is_left_out():
    assert parse_rows(['{"event": "eval"}', '{"event": "ev', "[]", "\x00"]) == [{"event": "eval"}]


def test_rows_of_an_output_folder_that_another_run_has_taken_are_not_this_jobs(tmp_path: Path):
    run_folder, output = tmp_path / "run", tmp_path / "output"
    (output / "flowers" / ".ftlaunch").mkdir(parents=True)
    run_folder.mkdir()
    file = JobFile(
        job="flowers", backend="local", run_id=RUN_ID, workdir=str(tmp_path), overrides=(), extra_modules=(),
        folders={"/output": str(output)}, output_dir="/output/flowers",
    )  # fmt: skip
    (run_folder / "job.json").write_text(format_job_file(file))
    (output / "flowers" / "metrics.jsonl").write_text(json.dumps(evaluated(1, loss=1.0, top1=0.5)) + "\n")
    state = {"schema": 1, "run_id": RUN_ID, "first_start_s": 1.0}
    (output / "flowers" / ".ftlaunch" / "run.json").write_text(json.dumps(state))
    assert find_score(read_metrics_here(run_folder)) == Score(metric="top1", value=0.5, epoch=1)
    other = {**state, "run_id": "cd" * 16}
    (output / "flowers" / ".ftlaunch" / "run.json").write_text(json.dumps(other))
    assert read_metrics_here(run_folder) == []
    (run_folder / "job.json").unlink()
    assert read_metrics_here(run_folder) == []
