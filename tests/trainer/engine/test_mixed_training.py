from __future__ import annotations

import json

import numpy as np
import paddle
import pytest

from trainer.checkpoints.pdfiles import read_arrays
from trainer.data.loader import Loader
from trainer.engine.setup import prepare
from trainer.models.registry import build_model
from trainer.ranks import Ranks

CLASSES = 3


def log_softmax(values):
    shifted = values - values.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    "loss",
    [{"epsilon": 0.1}, {}, {"soft_label": "exact"}],
    ids=["epsilon", "without", "exact"],
)
def test_two_steps_of_mixup_have_the_loss_of_the_formula(loss, workshop):
    changes = {
        "DataLoader__Train__dataset__batch_transform_ops": [{"MixupOperator": {"alpha": 0.4}}],
        "Loss__Train": [{"CELoss": loss}], "Global__iter_per_epoch": 2, "Global__epochs": 1,
        "Optimizer__lr": {"name": "Constant", "learning_rate": 0.0}, "Arch__dropout_prob": 0.0,
    }  # fmt: skip
    reached = workshop.train(**changes)
    assert reached.step == 2
    lines = (workshop.folder / "output" / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["event"] == "step"]

    config = workshop.config(**changes)
    loader = Loader(
        split=config.data.Train,
        samples=prepare(config, Ranks()).train,
        rank=0,
        world_size=1,
        seed=3,
        training=True,
    )
    paddle.seed(3)
    model = build_model(config.arch)
    model.train()
    for row, batch in zip(rows, loader.batches(0), strict=False):
        targets = batch.labels.astype(float)
        if loss.get("epsilon"):
            targets = 0.9 * targets + 0.1 / CLASSES
        elif not loss:
            targets = np.exp(log_softmax(targets))  # what PaddleClas does to mixed labels
        logits = model(paddle.to_tensor(batch.images)).numpy().astype(float)
        assert row["loss"] == pytest.approx(-(targets * log_softmax(logits)).sum(axis=1).mean(), rel=1e-5)
        assert "top1" not in row


def test_a_multi_scale_training_that_was_stopped_goes_on_bit_for_bit(workshop):
    split = workshop.config().data.Train.dataset
    scaled = {
        "DataLoader__Train__dataset": {
            "name": "MultiScaleDataset", "image_root": split.image_root,
            "cls_label_path": split.cls_label_path,
            "transform_ops": [
                {"DecodeImage": {}}, {"RandCropImage": {"size": 32}}, {"NormalizeImage": {"order": ""}}
            ],
        },
        "DataLoader__Train__sampler": {"name": "MultiScaleSampler", "scales": [32, 64], "first_bs": 4},
    }  # fmt: skip
    whole = workshop.train(**scaled)
    halves = {**scaled, "Global__output_dir": str(workshop.folder / "halves")}
    workshop.train_and_stop(at=2, **halves)
    assert workshop.train(**halves, resume="latest").step == whole.step
    one, other = (read_arrays(workshop.folder / name / "latest.pdparams") for name in ("output", "halves"))
    for key, value in one.items():
        np.testing.assert_array_equal(value, other[key], err_msg=key)
