from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from trainer.config.load import load_config
from trainer.config.problems import ConfigError

MINIMAL = {
    "Global": {"epochs": 1, "device": "cpu"},
    "Arch": {"name": "ResNet18", "class_num": 2},
    "Loss": {"Train": [{"CELoss": None}]},
    "Optimizer": {"name": "SGD", "lr": {"learning_rate": 0.1}},
    "DataLoader": {
        "Train": {
            "dataset": {
                "name": "ImageNetDataset", "image_root": "x", "cls_label_path": "y",
                "transform_ops": [{"DecodeImage": None}, {"NormalizeImage": {"order": ""}}],
            },
            "sampler": {"batch_size": 1},
        }
    },
}  # fmt: skip


def load(folder: Path, **sections: object):
    path = folder / "cfg.yaml"
    merged = {key: {**MINIMAL.get(key, {}), **value} for key, value in sections.items()}
    path.write_text(yaml.safe_dump({**MINIMAL, **merged}))
    return load_config(path)


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"AMP": {"level": "O3"}}, "AMP.level: expected 'O1' or 'O2', got 'O3'"),
        ({"Global": {"device": "xpu"}}, "Global.device: expected 'gpu', 'gpu:N' or 'cpu', got 'xpu'"),
        (
            {"Optimizer": {"name": "AdamW", "regularizer": {"name": "L2", "coeff": 0.1}}},
            "expected weight_decay",
        ),
        ({"Loss": {"Train": [{"CELoss": None}, {"CELoss": None}]}}, "expected each loss once, got CELoss"),
    ],
    ids=["AMP", "xpu", "AdamW with regularizer", "one loss twice"],
)  # fmt: skip
def test_what_would_change_the_result_is_refused_by_name(tmp_path, sections, says):
    with pytest.raises(ConfigError, match=says):
        load(tmp_path, **sections)


@pytest.mark.parametrize("key", ["uniform_output_enabled"])
def test_what_changes_no_result_is_said(tmp_path, key):
    loaded = load(tmp_path, Global={key: True})
    assert [problem.path for problem in loaded.warnings] == [("Global", key)]


def test_mixed_precision_on_a_cpu_is_said(tmp_path):
    loaded = load(tmp_path, AMP={"level": "O1"}, Global={"device": "cpu"})
    assert [problem.path for problem in loaded.warnings] == [("AMP", "use_amp")]
    assert load(tmp_path, AMP={"level": "O1"}, Global={"device": "gpu"}).warnings == ()


def test_mixed_precision_that_is_switched_off_is_fine(tmp_path):
    assert load(tmp_path, AMP={"use_amp": False}).warnings == ()
