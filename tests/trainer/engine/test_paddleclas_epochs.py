"""Epochs that PaddleClas's iterator does not begin anew, against a loop of Paddle's own parts.

The other side of each comparison knows nothing of the trainer's loader, sampler and mixing: it reads the
files with OpenCV, takes the order from paddle.io's sampler, whose iterator it makes once and anew where it
ends, and mixes with NumPy's numbers as they come.
"""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import paddle
import pytest
from paddle.nn import functional

from trainer.checkpoints.pdfiles import read_arrays
from trainer.data.loader import Loader
from trainer.engine.setup import prepare
from trainer.models.registry import build_model
from trainer.ranks import Ranks

CLASSES, BATCH, RATE = 3, 4, 0.02
SAME = {
    "DataLoader__Train__loader": {"num_workers": 0, "rng": "paddleclas"}, "Arch__dropout_prob": 0.0,
    "Optimizer__lr": {"name": "Constant", "learning_rate": RATE}, "Global__epochs": 3,
    "Metric__Train": [],
}  # fmt: skip
CUTMIX = {"DataLoader__Train__dataset__batch_transform_ops": [{"CutmixOperator": {"alpha": 0.9}}]}


def rows(workshop, event: str = "step", output: str = "output") -> list[dict[str, Any]]:
    lines = (workshop.folder / output / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["event"] == event]


def read_images(workshop) -> tuple[np.ndarray, np.ndarray]:
    """Read the list: float32 [N, C, H, W], normalised, and int64 [N]."""
    images, labels = [], []
    mean = np.array([0.485, 0.456, 0.406], dtype=np.float32)
    deviation = np.array([0.229, 0.224, 0.225], dtype=np.float32)
    for line in (workshop.folder / "train.txt").read_text().splitlines():
        name, label = line.split()
        pixels = cv2.imread(str(workshop.folder / name))[:, :, ::-1].astype(np.float32)
        images.append((((pixels * np.float32(1 / 255)) - mean) / deviation).transpose(2, 0, 1))
        labels.append(int(label))
    return np.stack(images), np.array(labels)


def mix(images: np.ndarray, labels: np.ndarray, draws: np.random.RandomState) -> np.ndarray:
    """Cut boxes as CutMix's paper does, in place; returns the labels in the precision that NumPy gives."""
    order, share = draws.permutation(len(images)), draws.beta(0.9, 0.9)
    height, width = images.shape[2:]
    side = np.sqrt(1.0 - share)
    tall, wide = int(height * side), int(width * side)
    row, column = draws.randint(height), draws.randint(width)
    rows = np.clip([row - tall // 2, row + tall // 2], 0, height)
    columns = np.clip([column - wide // 2, column + wide // 2], 0, width)
    images[:, :, rows[0] : rows[1], columns[0] : columns[1]] = images[
        order, :, rows[0] : rows[1], columns[0] : columns[1]
    ]
    kept = 1 - float(rows[1] - rows[0]) * (columns[1] - columns[0]) / (height * width)
    onehot = np.eye(CLASSES, dtype=np.float32)[labels]
    return onehot * kept + onehot[order] * (1 - kept)


def train_by_hand(workshop, *, batches: int, update_freq: int, mixes: bool) -> list[float]:
    """Train as many epochs of so many batches, whose orders end where the list does; returns the losses."""
    images, labels = read_images(workshop)
    draws = np.random.RandomState(3)
    paddle.seed(3)
    model = build_model(workshop.config(**SAME).arch)
    optimizer = paddle.optimizer.Momentum(RATE, 0.9, model.parameters())
    sampler = paddle.io.DistributedBatchSampler(
        range(len(images)), batch_size=BATCH, shuffle=True, num_replicas=1, rank=0
    )
    iterator, losses = iter(sampler), []
    for _ in range(SAME["Global__epochs"]):
        model.train()
        for iteration in range(batches // update_freq * update_freq):
            indices = next(iterator, None)
            if indices is None:
                iterator = iter(sampler)
                indices = next(iterator)
            inputs, targets = images[indices].copy(), labels[indices]
            if mixes:
                soft = mix(inputs, targets, draws)
                assert soft.dtype == np.float64
            else:
                soft = np.eye(CLASSES, dtype=np.float32)[targets]
            logs = functional.log_softmax(model(paddle.to_tensor(inputs)), axis=-1)
            smooth = functional.label_smooth(paddle.to_tensor(soft), epsilon=0.1)
            loss = (-logs * smooth).sum(axis=-1).mean()
            (loss / update_freq).backward()
            if (iteration + 1) % update_freq == 0:
                optimizer.step()
                optimizer.clear_grad()
            losses.append(float(loss))
    return losses


@pytest.mark.parametrize(
    ("update_freq", "iter_per_epoch", "batches", "mixes"),
    [(3, None, 4, False), (1, 3, 3, False), (1, 6, 6, False), (2, 5, 5, True), (5, 9, 9, False)],
    ids=["group", "shorter", "longer", "both and cutmix", "group over two orders"],
)
def test_epochs_go_on_where_the_order_was_left(workshop, update_freq, iter_per_epoch, batches, mixes):
    changes = {**SAME, **(CUTMIX if mixes else {}), "Global__update_freq": update_freq}
    if iter_per_epoch is not None:
        changes["Global__iter_per_epoch"] = iter_per_epoch
    workshop.train(**changes)
    expected = train_by_hand(workshop, batches=batches, update_freq=update_freq, mixes=mixes)
    found = [row["loss"] for row in rows(workshop)]
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("at", [1, 2, 3], ids=["within", "at the end of an epoch", "in the next"])
def test_a_stopped_training_goes_on_within_the_order(workshop, at):
    changes = {**SAME, **CUTMIX, "Global__iter_per_epoch": 5, "Global__update_freq": 2, "Global__epochs": 4}
    whole = workshop.train(**changes)
    halves = {**changes, "Global__output_dir": str(workshop.folder / "halves")}
    workshop.train_and_stop(at=at, **halves)
    assert workshop.train(**halves, resume="latest").step == whole.step
    one, other = (
        [(row["epoch"], row["iter"], row["loss"]) for row in rows(workshop, output=name)]
        for name in ("output", "halves")
    )
    assert list(dict.fromkeys(other)) == one
    first, second = (read_arrays(workshop.folder / name / "latest.pdparams") for name in ("output", "halves"))
    for key, value in first.items():
        np.testing.assert_array_equal(value, second[key], err_msg=key)


def test_labels_are_doubles_with_the_one_stream_alone(workshop):
    for rng, kind in (("paddleclas", np.float64), ("per_sample", np.float32)):
        config = workshop.config(**{**CUTMIX, "DataLoader__Train__loader": {"num_workers": 0, "rng": rng}})
        samples = prepare(config, Ranks()).train
        loader = Loader(split=config.data.Train, samples=samples, rank=0, world_size=1, seed=3, training=True)
        assert {batch.labels.dtype for batch in loader.batches(0)} == {np.dtype(kind)}


def test_labels_that_are_doubles_train_without_epsilon(workshop):
    workshop.train(**SAME, **CUTMIX, Loss__Train=[{"CELoss": {}}])
    assert all(np.isfinite(row["loss"]) for row in rows(workshop))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"Global__update_freq": 3},
            "update_freq: 3 does not divide the 4 batches of an epoch: the last 1 of",
        ),
        (
            {"Global__update_freq": 9},
            "update_freq: expected at most the 4 batches of an epoch, got 9; 1 is taken",
        ),
        ({"Global__iter_per_epoch": 6}, "iter_per_epoch: expected at most the 4 batches of an epoch, got 6"),
    ],
    ids=["left over", "too many", "too long"],
)
def test_what_an_epoch_leaves_out_is_said(workshop, capsys, changes, says):
    workshop.train(Global__epochs=1, **changes)
    assert says in capsys.readouterr().out


def test_more_batches_a_step_than_there_are_mean_one(workshop):
    workshop.train(Global__epochs=1, Global__update_freq=9)
    assert [row["step"] for row in rows(workshop)] == [1, 2, 3, 4]


def test_nothing_is_left_out_with_the_one_stream(workshop, capsys):
    workshop.train(**SAME, Global__update_freq=3, Global__iter_per_epoch=6)
    assert "warning" not in capsys.readouterr().out
