"""What a training says of itself in its log."""

from __future__ import annotations

import pytest

from launcher.jobs.training_log import TrainingLog

SAID = """\
attempt 1 begins: 1 rank on 1 node
[2026/11/30 05:40:25] trainer INFO: [Train][Epoch 1/3][Iter: 0/4]lr: 0.1, CELoss: 2.5, loss: 2.5, top1: 0.1, ips: 9.5 samples/s
[2026/11/30 05:40:26] trainer INFO: [Train][Epoch 1/3][Iter: 2/4]lr: 0.1, CELoss: 2.0, loss: 2.0, top1: 0.2, ips: 9.5 samples/s
[2026/11/30 05:40:27] trainer INFO: [Train][Epoch 1/3][Avg]CELoss: 1.9, loss: 1.9, top1: 0.25
[2026/11/30 05:40:28] trainer INFO: [Eval][Epoch 1][Avg]CELoss: 1.8, loss: 1.8, top1: 0.5, top5: 1.0
[2026/11/30 05:40:28] trainer INFO: [Eval][Epoch 1][best metric: 0.5]
[2026/11/30 05:40:29] trainer INFO: [Train][Epoch 2/3][Avg]CELoss: 1.5, loss: 1.5, top1: 0.3
[2026/11/30 05:40:30] trainer INFO: [Eval][Epoch 2][Avg]CELoss: 1.7, loss: 1.7, top1: 0.4, top5: 1.0
[2026/11/30 05:40:30] trainer INFO: [Eval][Epoch 2][EMA][Avg]CELoss: 9.0, loss: 9.0, top1: 0.9
[2026/11/30 05:40:30] trainer INFO: [Eval][Epoch 2][best metric: 0.5]
""".splitlines()  # noqa: E501 - lines of a log as they are


def test_losses_evaluations_and_the_best_epoch_are_read_as_they_pass():
    log = TrainingLog()
    log.add(SAID)
    assert (log.total_epochs, log.position, log.metric, log.best_epoch) == (3, 2.0, "top1", 1)
    assert list(log.losses) == [2.5, 2.0]
    assert log.curve("loss", of="train") == [1.9, 1.5]
    assert log.curve("top1", of="evaluated") == [0.5, 0.4]
    assert log.lines[0] == "attempt 1 begins: 1 rank on 1 node"
    assert log.lines[4] == "05:40:28 [Eval][Epoch 1][Avg]CELoss: 1.8, loss: 1.8, top1: 0.5, top5: 1.0"


def test_a_restart_takes_back_the_epochs_after_its_checkpoint():
    log = TrainingLog()
    log.add(SAID)
    log.add(["[Train][Epoch 1/3][Iter: 2/4]loss: 2.1", "[Train][Epoch 1/3][Avg]loss: 1.95"])
    assert log.position == 1.0
    log.add(["[Train][Epoch 3/3][Avg]loss: 1.0", "[Train][Epoch 2/3][Avg]loss: 1.4"])
    assert sorted(log.epochs) == [1, 2]


@pytest.mark.parametrize(
    "odd",
    [
        "[Train][Epoch 99999999999/3][Avg]loss: 1", "[Train][Epoch 1/3][Iter: 1/0]loss: 1e999",
        "[Eval][Epoch x][Avg]",
        "[Eval][Epoch 1][Avg]loss: nan, top1: 1.2.3",
        "[Eval][Epoch 1][best metric: ...]",
        "[Epoch " * 9999,
        "[Train][Epoch 1/3][Avg]" + "a: 1, " * 9999,
    ],
)  # fmt: skip
def test_a_line_of_another_form_is_text(odd):
    log = TrainingLog()
    log.add([odd])
    assert len(log.lines[0]) <= 4096
    assert log.best_epoch is None
    assert log.curve("loss", of="train") == log.curve("top1", of="evaluated") == []


def test_it_is_bounded():
    log = TrainingLog()
    log.add(f"[Train][Epoch {epoch}/9000][Iter: 0/1]loss: 1.0" for epoch in range(1, 9000))
    log.add(f"[Train][Epoch {epoch}/9000][Avg]loss: 1.0" for epoch in range(1, 9000))
    assert (len(log.lines), len(log.losses), len(log.epochs)) == (200, 512, 2000)
