from __future__ import annotations

import json
import math
from typing import Any

import pytest


def rows(workshop: Any, event: str) -> list[dict[str, Any]]:
    lines = (workshop.folder / "output/metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["event"] == event]


def test_a_network_learns_how_its_images_were_turned(workshop: Any) -> None:
    (workshop.folder / "turned.txt").write_text("".join(f"train{index}.png\n" for index in range(15)))
    ops = [{"DecodeImage": {}}, {"RandomRot90": None}, {"NormalizeImage": {"order": ""}}]
    dataset = {
        "name": "CustomLabelDataset", "image_root": str(workshop.folder), "transform_ops": ops,
        "sample_list_path": str(workshop.folder / "turned.txt"), "label_key": "random_rot90_orientation",
    }  # fmt: skip
    workshop.train(Global__epochs=1, Arch__class_num=4, DataLoader__Train__dataset=dataset)
    steps = rows(workshop, "step")
    assert len(steps) == 4
    assert all(math.isfinite(step["loss"]) and 0 <= step["top1"] <= 1 for step in steps)


@pytest.mark.parametrize(
    "op",
    [{"FmixOperator": {}}, {"MixupCutmixHybrid": {"cutmix_alpha": 1, "num_classes": 3, "mode": "elem"}}],
    ids=lambda op: next(iter(op)),
)  # fmt: skip
def test_a_network_learns_from_batches_mixed_either_way(workshop: Any, op: dict[str, Any]) -> None:
    workshop.train(Global__epochs=1, DataLoader__Train__dataset__batch_transform_ops=[op])
    assert all(math.isfinite(step["CELoss"]) for step in rows(workshop, "step"))
