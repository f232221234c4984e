from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from trainer.config.load import load_config
from trainer.config.root import TrainConfig
from trainer.engine.run import TrainingProgress, run_training
from trainer.engine.train import Training
from trainer.errors import StoppedError
from trainer.ranks import Ranks

CLASSES, SIDE = 3, 32


@dataclass
class Workshop:
    """A folder with drawn images and lists, in which configs are trained in this process."""

    folder: Path

    def config(self, **changes: Any) -> TrainConfig:
        path = self.folder / "cfg.yaml"
        path.write_text(yaml.safe_dump(self._document(changes)))
        return load_config(path).config

    def train(
        self, *, ranks: Ranks | None = None, resume: str = "auto", overwrite: bool = False, **changes: Any
    ) -> TrainingProgress:
        reached = TrainingProgress()
        run_training(
            self.config(**changes), ranks or Ranks(), resume=resume, overwrite=overwrite, reached=reached,
            say=print,
        )  # fmt: skip
        return reached

    def train_and_stop(self, *, at: int, **changes: Any) -> None:
        """Train with a SIGTERM after step `at`, which is obeyed at once where there is one rank."""
        real = Training._advance

        def advance(training: Training, epoch: int, batch: Any, **counted: int) -> None:
            real(training, epoch, batch, **counted)
            if training.state.step == at:
                os.kill(os.getpid(), signal.SIGTERM)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Training, "_advance", advance)
            with pytest.raises(StoppedError, match=f"stopped after step {at}$"):
                self.train(**changes)

    def _document(self, changes: dict[str, Any]) -> dict[str, Any]:
        ops = [{"DecodeImage": {}}, {"NormalizeImage": {"order": ""}}]

        def split(name: str, batch: int) -> dict[str, Any]:
            listed = str(self.folder / f"{name}.txt")
            return {
                "dataset": {
                    "name": "ImageNetDataset", "image_root": str(self.folder), "cls_label_path": listed,
                    "transform_ops": [dict(op) for op in ops],
                },
                "sampler": {"batch_size": batch, "shuffle": name == "train"},
                "loader": {"num_workers": 0},
            }  # fmt: skip

        document: dict[str, Any] = {
            "Global": {
                "output_dir": str(self.folder / "output"), "device": "cpu", "epochs": 2, "seed": 3,
                "print_batch_step": 2,
            },
            "Arch": {"name": "PPLCNet_x0_25", "class_num": CLASSES, "dropout_prob": 0.5, "class_expand": 64},
            "Loss": {"Train": [{"CELoss": {"epsilon": 0.1}}], "Eval": [{"CELoss": {}}]},
            "Optimizer": {
                "name": "Momentum", "lr": {"name": "Cosine", "learning_rate": 0.01, "warmup_epoch": 1},
            },
            "DataLoader": {"Train": split("train", 4), "Eval": split("val", 4)},
            "Metric": {"Train": [{"TopkAcc": {"topk": [1, 2]}}], "Eval": [{"TopkAcc": {"topk": [1, 2]}}]},
        }  # fmt: skip
        for key, value in changes.items():
            *parents, last = key.split("__")
            here = document
            for parent in parents:
                here = here.setdefault(parent, {})
            here[last] = value
        return document


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    draws = np.random.default_rng(0)
    for name, count in (("train", 15), ("val", 6)):
        lines = []
        for index in range(count):
            label = index % CLASSES
            image = draws.integers(0, 100, (SIDE, SIDE, 3), dtype=np.uint8)
            image[:, :, label] += np.uint8(100)
            cv2.imwrite(str(tmp_path / f"{name}{index}.png"), image)
            lines.append(f"{name}{index}.png {label}\n")
        (tmp_path / f"{name}.txt").write_text("".join(lines))
    return Workshop(tmp_path)


Make = Callable[..., Workshop]
