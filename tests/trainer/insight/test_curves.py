"""How a run went, read from its rows; and which answers are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainer.insight.curves import History, MetricsReader, draw_charts, list_times
from trainer.insight.training_report import choose_kept
from trainer.protocol.reportfile import EvaluationFacts, RunFacts


def history(*rows: dict) -> History:
    made = History()
    for row in rows:
        made.add(row)
    return made


def trained(epoch: int, loss: float, **more: object) -> dict:
    return {"event": "epoch", "epoch": epoch, "loss": loss, **more}


def evaluated(epoch: int, top1: float, **more: object) -> dict:
    return {"event": "eval", "epoch": epoch, "top1": top1, "loss": 1.0, **more}


def test_of_an_epoch_that_was_done_twice_the_last_row_counts():
    found = history(trained(1, 2.0), trained(2, 1.5), {"event": "resumed", "epoch": 1}, trained(2, 1.25))
    assert [found.trained[epoch]["loss"] for epoch in (1, 2)] == [2.0, 1.25]
    assert found.restarts == [1]


def test_what_lies_behind_a_restart_is_forgotten():
    found = history(trained(1, 2.0), trained(2, 1.5), evaluated(2, 0.5), {"event": "resumed", "epoch": 1})
    assert set(found.trained) == {1}
    assert not found.evaluated


def test_only_what_is_new_is_read_and_only_whole_rows(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    reader = MetricsReader(path)
    assert not reader.read().trained
    first, second = (json.dumps(trained(epoch, 1.0)) for epoch in (1, 2))
    path.write_text(f'{{"event": "step", "epoch": 1}}\n{first}\n{second[:9]}')
    assert set(reader.read().trained) == {1}
    with path.open("a") as file:
        file.write(f"{second[9:]}\nno json\n")
    assert set(reader.read().trained) == {1, 2}


def test_a_chart_has_both_curves_and_what_to_beat():
    found = history(trained(1, 2.0, top1=0.2), evaluated(1, 0.25, ema_top1=0.5, largest_class=0.4))
    loss, top1 = draw_charts(found, epochs=4, chance=0.1, key="top1")
    assert [line.name for line in loss.lines] == ["training", "validation"]
    assert [line.kind for line in top1.lines] == ["train", "eval", "average"]
    assert [name for _, _, name in top1.floors] == ["always the largest class: 0.4", "chance: 0.1"]
    x, y, said = top1.lines[1].marks[0]
    assert (x, y, said) == (pytest.approx(460 / 4), pytest.approx(220 * 0.75), "epoch 1: 0.25")


def test_times_are_added_up_over_epochs_and_attempts():
    found = history(
        {"event": "times", "epoch": 1, "steps": 10, "wait_s": 0.1, "compute_s": 0.2, "eval_s": 3.0},
        {"event": "times", "epoch": 2, "steps": 10, "wait_s": 0.1, "compute_s": 0.2, "eval_s": 5.0},
        {"event": "resumed", "epoch": 2},
        {"event": "times", "epoch": 3, "steps": 10, "wait_s": 0.1, "compute_s": 0.2, "eval_s": 1.0},
    )
    seconds = {name: value for name, value, _ in list_times(found)}
    assert seconds["waiting for images"] == pytest.approx(3.0)
    assert seconds["computing"] == pytest.approx(6.0)
    assert seconds["evaluating"] == pytest.approx(6.0)
    assert sum(share for _, _, share in list_times(found)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, {2, 5, 6}),
        ({"keep_latest": 1}, {2, 6}),
        ({"keep_best": 2}, {2, 3, 5, 6}),
        ({"keep_every": 4}, {2, 4, 5, 6}),
        ({"less_is_better": True}, {1, 5, 6}),
    ],
)
def test_answers_are_kept_as_checkpoints_are(changes: dict, kept: set):
    values = {1: 0.1, 2: 0.9, 3: 0.8, 4: 0.3, 5: 0.2, 6: 0.4}
    found = history(*(evaluated(epoch, value) for epoch, value in values.items()))
    run = RunFacts(output_dir="o", listed="l", version="1", names=(), max_pixels=1, **changes)
    now = EvaluationFacts(epoch=6, step=60, key="top1")
    assert choose_kept([*values, 9], found, run, now) == kept
