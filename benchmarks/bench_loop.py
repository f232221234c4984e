"""What the training loop costs: steps of `trainer train`'s loop against a bare loop over the same batches.

PPHGNetV2_B0, 32 x 32 pixels, 64 images a step, one CPU rank; images are drawn once and lie in the page cache.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import paddle
import yaml

from trainer.config.load import load_config
from trainer.engine.run import run_training
from trainer.models.registry import build_model
from trainer.ranks import Ranks

STEPS, BATCH, SIDE, ROUNDS = 12, 64, 32, 3


def write(folder: Path) -> Path:
    draws = np.random.default_rng(0)
    lines = []
    for index in range(STEPS * BATCH):
        cv2.imwrite(str(folder / f"{index}.png"), draws.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
        lines.append(f"{index}.png {index % 10}\n")
    (folder / "list.txt").write_text("".join(lines))
    dataset = {
        "name": "ImageNetDataset", "image_root": str(folder), "cls_label_path": str(folder / "list.txt"),
        "transform_ops": [{"DecodeImage": None}, {"NormalizeImage": {"order": ""}}],
    }  # fmt: skip
    config = {
        "Global": {
            "output_dir": str(folder / "output"), "device": "cpu", "epochs": 1, "seed": 0,
            "eval_during_train": False, "save_interval": 0,
        },
        "Arch": {"name": "PPHGNetV2_B0", "class_num": 10},
        "Loss": {"Train": [{"CELoss": {"epsilon": 0.1}}]},
        "Optimizer": {"name": "Momentum", "lr": {"learning_rate": 0.01}},
        "DataLoader": {
            "Train": {"dataset": dataset, "sampler": {"batch_size": BATCH}, "loader": {"num_workers": 1}}
        },
        "Metric": {"Train": [{"TopkAcc": {"topk": [1, 5]}}]},
    }  # fmt: skip
    path = folder / "cfg.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def ours(path: Path, folder: Path) -> float:
    config = load_config(path, [f"Global.output_dir={folder}"]).config
    run_training(config, Ranks())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    times = [row["time_s"] for row in rows if row["event"] == "step"]
    return BATCH / statistics.median(np.diff(times))


def bare(path: Path) -> float:
    paddle.seed(0)
    model = build_model(load_config(path).config.arch)
    optimizer = paddle.optimizer.Momentum(0.01, parameters=model.parameters())
    images = paddle.randn([BATCH, 3, SIDE, SIDE])
    labels = paddle.randint(0, 10, [BATCH, 1])
    times = []
    for _ in range(STEPS):
        began = time.perf_counter()
        paddle.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.clear_grad()
        times.append(time.perf_counter() - began)
    return BATCH / statistics.median(times)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write(folder)
        pairs = [(bare(path), ours(path, folder / f"output{index}")) for index in range(ROUNDS)]
    limit, found = (statistics.median(values) for values in zip(*pairs, strict=True))
    print(f"bare loop, batch in memory   {limit:7.1f} images/s  1.00 x")
    print(f"trainer train                {found:7.1f} images/s  {found / limit:4.2f} x")


if __name__ == "__main__":
    main()
