"""A config to plan and render."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
                    "name": "ImageNetDataset", "image_root": "/data",
                    "cls_label_path": "/data/train_list.txt", "transform_ops": ops,
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
