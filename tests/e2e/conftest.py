"""Real jobs: the commands as a user types them, real images, real Paddle, real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CLASSES, PER_CLASS, VAL_PER_CLASS, SIDE = 4, 16, 4, 32


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.e2e)


@dataclass
class Place:
    """A user's folder: data, configs, state; `run` types a command there."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def run(
        self, *argv: str, code: int | None = 0, timeout_s: float = 180.0, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self._program(argv[0]), *argv[1:]], cwd=cwd or self.folder, env=self.environ, text=True,
            capture_output=True, timeout=timeout_s,
        )  # fmt: skip
        if code is not None:
            assert done.returncode == code, (
                f"{' '.join(argv)} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def begin(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._program(argv[0]), *argv[1:]], cwd=self.folder, env=self.environ, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    @property
    def environ(self) -> dict[str, str]:
        names = ("PATH", "LANG", "PYTHONPATH")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        return {**kept, "HOME": str(self.folder), "FTLAUNCH_STATE": str(self.folder / "state"), **self.env}

    @staticmethod
    def _program(name: str) -> list[str]:
        modules = {"ftlaunch": ["-m", "launcher"], "trainer": ["-m", "trainer"], "python": []}
        return [sys.executable, *modules[name]]

    def status(self, *argv: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(
            self.run("ftlaunch", "status", *argv, "--output", "json").stdout
        )
        return document

    def rows(self, output: str = "output") -> list[dict[str, Any]]:
        path = self.folder / output / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for(self, fact: Callable[[], Any], *, what: str, timeout_s: float = 90.0) -> Any:
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            if value := fact():
                return value
            time.sleep(0.05)
        raise AssertionError(f"expected {what} within {timeout_s} s")


def draw_images(folder: Path) -> None:
    """Draw classes that differ in brightness and stripes, as JPEGs, by our own make-lists' layout."""
    draws = np.random.default_rng(0)
    for part, count in (("train", PER_CLASS), ("val", VAL_PER_CLASS)):
        for label in range(CLASSES):
            (folder / part / f"class{label}").mkdir(parents=True)
            for index in range(count):
                image = draws.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
                image[:: label + 2] += np.uint8(50 * label + 40)
                cv2.imwrite(str(folder / part / f"class{label}" / f"{index}.jpg"), image)


def config(**changes: Any) -> dict[str, Any]:
    """A small config: every key can be changed as `Section__key=value`."""
    ops = [
        {"DecodeImage": {"to_rgb": True, "channel_first": False}},
        {"ResizeImage": {"size": SIDE}},
        {"NormalizeImage": {"scale": "1.0/255.0", "mean": [0.5] * 3, "std": [0.25] * 3, "order": ""}},
    ]

    def split(name: str, batch: int, shuffle: bool) -> dict[str, Any]:
        return {
            "dataset": {
                "name": "ImageNetDataset", "image_root": "data", "cls_label_path": f"data/{name}_list.txt",
                "transform_ops": ops,
            },
            "sampler": {
                "name": "DistributedBatchSampler", "batch_size": batch, "drop_last": False,
                "shuffle": shuffle,
            },
            "loader": {"num_workers": 0},
        }  # fmt: skip

    document: dict[str, Any] = {
        "Global": {
            "output_dir": "output", "device": "cpu", "epochs": 2, "seed": 7, "print_batch_step": 1,
            "save_interval": 1, "eval_during_train": True, "eval_interval": 1,
        },
        "Arch": {"name": "PPLCNet_x0_25", "class_num": CLASSES, "dropout_prob": 0.0},
        "Loss": {"Train": [{"CELoss": {"epsilon": 0.1}}], "Eval": [{"CELoss": {"weight": 1.0}}]},
        "Optimizer": {
            "name": "Momentum", "momentum": 0.9,
            "lr": {"name": "Cosine", "learning_rate": 0.05, "warmup_epoch": 1},
            "regularizer": {"name": "L2", "coeff": 0.0001},
        },
        "DataLoader": {"Train": split("train", 16, True), "Eval": split("val", 8, False)},
        "Metric": {"Train": [{"TopkAcc": {"topk": [1, 2]}}], "Eval": [{"TopkAcc": {"topk": [1, 2]}}]},
    }  # fmt: skip
    for path, value in changes.items():
        *parents, last = path.split("__")
        here = document
        for key in parents:
            here = here.setdefault(key, {})
        here[last] = value
    return document


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "data"
    draw_images(folder)
    subprocess.run(
        [sys.executable, "-m", "trainer", "make-lists", str(folder)], check=True, capture_output=True
    )
    return folder


@pytest.fixture
def place(tmp_path: Path, images: Path) -> Iterator[Place]:
    (tmp_path / "data").symlink_to(images)
    there = Place(tmp_path)
    yield there
    names = there.run("ftlaunch", "list", "--output", "name", code=None).stdout.split()
    for name in names:
        there.run("ftlaunch", "delete", name, "--force", code=None)


@pytest.fixture
def write_config(place: Place) -> Callable[..., str]:
    def write(name: str = "cfg.yaml", **changes: Any) -> str:
        (place.folder / name).write_text(yaml.safe_dump(config(**changes), sort_keys=False))
        return name

    return write
