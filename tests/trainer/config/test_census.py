from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trainer.config.census import CONFIGS, DISTILLATION, Feature, features
from trainer.config.load import load_config
from trainer.config.problems import ConfigError

FEATURES = list(features())
PAGE = Path(__file__).parents[3] / "docs/paddleclas.md"
IGNORED = {"clip_grad"}
"""What PaddleClas takes and forgets; it is said."""
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


def listed() -> dict[str, int]:
    """Return what docs/paddleclas.md says is refused: the feature, and in how many configs it stands."""
    rows = re.findall(r"^\| `([^`]+)` \| (\d+) \|", PAGE.read_text(), re.MULTILINE)
    return {name: int(configs) for name, configs in rows}


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name.replace(" ", "-"))
def test_a_feature_of_the_shipped_configs_is_taken_or_refused_by_name(feature, tmp_path):
    said = ask_for(feature, tmp_path)
    assert bool(said) == (feature.name in listed()), said
    if said:
        assert "expected" in said
        assert re.split(r"[.:]+ *", feature.name)[-1] in said or feature.name.split(":")[0] in said


def test_the_page_lists_what_is_refused_with_its_number_of_configs():
    known = {feature.name: feature.configs for feature in FEATURES}
    assert listed() == {name: known.get(name) for name in listed()}


def test_at_most_one_config_in_twenty_asks_for_what_is_refused():
    """Counts every refused feature as configs of its own, which is more than there are."""
    refused = sum(listed().values())
    assert refused <= 0.05 * CONFIGS
    assert f"at most {refused} configs, {refused / CONFIGS:.1%}".replace("%", " %") in PAGE.read_text()


def test_no_feature_is_listed_twice():
    names = [feature.name for feature in FEATURES]
    assert len(set(names)) == len(names) > 130
    assert set(DISTILLATION) <= set(names)
