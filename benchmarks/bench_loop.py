"""What the training loop costs: `trainer train`'s loop against a bare loop over one batch in memory.

The smallest network that there is, where the loop weighs most (PPLCNet_x0_25, 32 x 32 pixels, 8 images a
step), and a larger step (PPHGNetV2_B0, 64 images). One CPU rank; images are drawn once and lie in the page
cache. The bare loop is forward pass, the same loss, backward pass and update, without metrics, reading and
rows; ours has them all, and `print_batch_step` 10. Both run in turns, and what counts is the median of the
rounds' ratios. Beside the clock's time the process' own CPU time is given, of all its threads: it says what
the loop costs where other work takes the cores, too. Readers are processes of their own and not in it.

`python -m benchmarks.bench_loop [ROUNDS [CASES]]`
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import paddle
import yaml

from trainer.config.load import load_config
from trainer.engine.run import run_training
from trainer.models.registry import build_model
from trainer.ranks import Ranks

SIDE, ROUNDS = 32, 5


@dataclass(frozen=True)
class Case:
    arch: str
    batch: int
    steps: int


CASES = (Case("PPLCNet_x0_25", 8, 100), Case("PPHGNetV2_B0", 64, 20))
_WARM = 10  # steps before the clock starts: memory, threads and kernels are chosen in them


def write(folder: Path, case: Case) -> Path:
    draws = np.random.default_rng(0)
    lines = []
    for index in range((case.steps + _WARM) * case.batch):
        cv2.imwrite(str(folder / f"{index}.png"), draws.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
        lines.append(f"{index}.png {index % 10}\n")
    (folder / "list.txt").write_text("".join(lines))
    dataset = {
        "name": "ImageNetDataset", "image_root": str(folder), "cls_label_path": str(folder / "list.txt"),
        "transform_ops": [{"DecodeImage": None}, {"NormalizeImage": {"order": ""}}],
    }  # fmt: skip
    sampler = {"batch_size": case.batch}
    config = {
        "Global": {
            "output_dir": str(folder / "output"), "device": "cpu", "epochs": 1, "seed": 0,
            "eval_during_train": False, "save_interval": 0,
        },
        "Arch": {"name": case.arch, "class_num": 10},
        "Loss": {"Train": [{"CELoss": {}}]},
        "Optimizer": {"name": "Momentum", "lr": {"learning_rate": 0.01}},
        "DataLoader": {"Train": {"dataset": dataset, "sampler": sampler, "loader": {"num_workers": 1}}},
        "Metric": {"Train": [{"TopkAcc": {"topk": [1, 5]}}]},
    }  # fmt: skip
    path = folder / "cfg.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


Times = tuple[float, float]  # seconds a step: by the clock, and of this process' CPU time


def now() -> Times:
    return time.perf_counter(), time.process_time()


def between(begin: Times, end: Times, steps: int) -> Times:
    return (end[0] - begin[0]) / steps, (end[1] - begin[1]) / steps


def ours(path: Path, folder: Path) -> Times:
    config = load_config(path, [f"Global.output_dir={folder}"]).config
    lines: dict[int, Times] = {}

    def say(text: str) -> None:
        if found := re.search(r"\[Iter: (\d+)/", text):
            lines[int(found[1])] = now()

    run_training(config, Ranks(), say=say)
    first, last = min(step for step in lines if step >= _WARM), max(lines)
    return between(lines[first], lines[last], last - first)


def bare(path: Path, case: Case) -> Times:
    paddle.seed(0)
    model = build_model(load_config(path).config.arch)
    model.train()
    optimizer = paddle.optimizer.Momentum(0.01, parameters=model.parameters())
    images = paddle.randn([case.batch, 3, SIDE, SIDE])
    labels = paddle.randint(0, 10, [case.batch, 1])
    began = now()
    for step in range(case.steps + _WARM):
        if step == _WARM:
            began = now()
        paddle.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.clear_grad()
    return between(began, now(), case.steps)


def measure(case: Case, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write(folder, case)
        pairs = [(bare(path, case), ours(path, folder / f"output{index}")) for index in range(rounds)]
    print(f"{case.arch}, {case.batch} images a step, {rounds} rounds")
    for at, what in enumerate(("by the clock", "CPU time")):
        limit, found = (1000 * statistics.median(one[of][at] for one in pairs) for of in (0, 1))
        ratios = sorted(one[at] / other[at] for one, other in pairs)
        print(f"  {what:12s}  bare loop, batch in memory  {limit:8.2f} ms a step  1.00 x")
        ratio = statistics.median(ratios)
        print(f"  {what:12s}  trainer train               {found:8.2f} ms a step  {ratio:4.2f} x")
        print(f"  {what:12s}  all ratios: " + " ".join(f"{ratio:.2f}" for ratio in ratios))


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    for case in CASES[: int(sys.argv[2]) if len(sys.argv) > 2 else None]:
        measure(case, rounds)


if __name__ == "__main__":
    main()
