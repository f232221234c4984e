from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.plan.jobplan import JobPlan
from launcher.plan.plan import plan
from launcher.spec.load import Flags, RunConfig, load_run_config

RUN_ID = "00112233445566778899aabbccddeeff"
VOLUMES = [
    {"mount": "/data", "claim": "flowers", "read_only": True, "local": "flowers"},
    {"mount": "/output", "claim": "runs", "local": "output"},
]


def config_values(*, launch: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A small config that passes everywhere; `Section__key=value` changes it."""
    ops = [{"DecodeImage": {}}, {"ResizeImage": {"size": 32}}, {"NormalizeImage": {"order": ""}}]
    values: dict[str, Any] = {
        "Global": {"epochs": 1, "output_dir": "/output/run"},
        "Arch": {"name": "PPLCNet_x0_25", "class_num": 4},
        "Loss": {"Train": [{"CELoss": {"weight": 1.0}}]},
        "Optimizer": {"name": "Momentum", "lr": {"name": "Constant", "learning_rate": 0.1}},
        "DataLoader": {
            "Train": {
                "dataset": {
                    "name": "ImageNetDataset", "image_root": "/data", "cls_label_path": "/data/train_list.txt",
                    "transform_ops": ops,
                },
                "sampler": {"name": "DistributedBatchSampler", "batch_size": 64},
            }
        },
        "Launch": {"image": "registry.example/trainer:1", "gpus": 4, "volumes": VOLUMES, **(launch or {})},
    }  # fmt: skip
    for path, value in changes.items():
        *parents, last = path.split("__")
        here = values
        for key in parents:
            here = here[key]
        here[last] = value
    return values


@pytest.fixture
def write_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a config into the current folder and return its relative path."""
    monkeypatch.chdir(tmp_path)

    def write(values: Mapping[str, Any] | None = None, *, name: str = "cfg.yaml", **changes: Any) -> Path:
        path = Path(name)
        path.write_text(yaml.safe_dump(values or config_values(**changes), sort_keys=False))
        return path

    return write


@pytest.fixture
def load(write_config: Callable[..., Path]) -> Callable[..., RunConfig]:
    def load_it(*overrides: str, flags: Flags | None = None, **changes: Any) -> RunConfig:
        return load_run_config(write_config(**changes), overrides=overrides, flags=flags)

    return load_it


@pytest.fixture
def make_plan(load: Callable[..., RunConfig]) -> Callable[..., JobPlan]:
    def make(overrides: Sequence[str] = (), *, flags: Flags | None = None, **given: Any) -> JobPlan:
        plan_keys = ("on", "exact_name", "gpus_here", "overwrite")
        asked = {"on": "kubernetes", **{key: given.pop(key) for key in plan_keys if key in given}}
        return plan(load(*overrides, flags=flags, **given), run_id=RUN_ID, version="0.1.0", **asked)

    return make
