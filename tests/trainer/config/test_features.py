from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trainer.config.census import DISTILLATION, Feature, features
from trainer.config.load import load_config
from trainer.config.problems import ConfigError

FEATURES = list(features())
IGNORED = {"clip_grad", "weight"}
"""What PaddleClas takes and forgets; it is said. `weight` is of the only loss of a list."""
BASE: dict[str, Any] = {
    "Global": {"epochs": 1, "device": "gpu"},
    "Arch": {"name": "ResNet50", "class_num": 1000},
    "Loss": {"Train": [{"CELoss": {"weight": 1.0}}]},
    "Optimizer": {
        "name": "Momentum", "momentum": 0.9, "lr": {"name": "Cosine", "learning_rate": 0.1},
        "regularizer": {"name": "L2", "coeff": 1e-4},
    },
    "DataLoader": {
        "Train": {
            "dataset": {
                "name": "ImageNetDataset", "image_root": "x", "cls_label_path": "y",
                "transform_ops": [
                    {"DecodeImage": {"to_rgb": True, "channel_first": False}},
                    {"RandCropImage": {"size": 224}},
                    {"NormalizeImage": {"order": ""}},
                ],
            },
            "sampler": {"name": "DistributedBatchSampler", "batch_size": 64, "drop_last": False},
        }
    },
}  # fmt: skip


def change(document: Any, path: str, value: Any) -> None:
    """Set a dotted path: `[0]`, `[last]` replace an item, `[-1]`, `[+1]` add one."""
    *parents, last = path.split(".")
    for key in parents:
        document = document[key]
    key, _, place = last.partition("[")
    if value is ...:
        document.pop(key, None)
    elif not place:
        document[key] = value
    else:
        items = document[key]
        end = len(items)
        spots = {"0": (0, 1), "last": (end - 1, end), "-1": (end - 1, end - 1), "+1": (end, end)}
        items[slice(*spots[place.rstrip("]")])] = [value]


def ask_for(feature: Feature, folder: Path) -> str:
    """Return why a config that asks for a feature is refused, or nothing."""
    document = copy.deepcopy(BASE)
    for path, value in feature.changes.items():
        change(document, path, copy.deepcopy(value))
    (folder / "cfg.yaml").write_text(yaml.safe_dump(document))
    try:
        loaded = load_config(folder / "cfg.yaml")
    except ConfigError as error:
        return str(error)
    unknown = [problem.path[-1] for problem in loaded.warnings if "no effect" in problem.message]
    assert set(unknown) <= IGNORED, loaded.warnings
    return ""


REFUSED = {"TripletLossV2", "VeriWild", "AFDLoss"}


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name.replace(" ", "-"))
def test_a_feature_of_the_shipped_configs_is_taken_or_refused_by_name(feature, tmp_path):
    said = ask_for(feature, tmp_path)
    assert bool(said) == (feature.name in REFUSED), said
    assert not said or feature.name in said


def test_no_feature_is_listed_twice():
    names = [feature.name for feature in FEATURES]
    assert len(set(names)) == len(names) > 130
    assert set(DISTILLATION) <= set(names)
