"""A folder in which everything works, and ways to spoil it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

CONFIG = """\
# Three kinds of flowers.
Global:
  output_dir: output
  device: cpu
  epochs: 2
  print_batch_step: 1

Arch:
  name: PPLCNet_x0_25
  class_num: 3
  class_expand: 64

Loss:
  Train:
    - CELoss:
        epsilon: 0.1
  Eval:
    - CELoss:

Optimizer:
  name: Momentum
  lr:
    name: Constant
    learning_rate: 0.01

DataLoader:
  Train:
    dataset:
      name: ImageNetDataset
      image_root: data
      cls_label_path: train_list.txt
      transform_ops:
        - DecodeImage:
        - ResizeImage:
            size: 32
        - NormalizeImage:
            order: ''
    sampler:
      batch_size: 3
      drop_last: True

Metric:
  Train:
    - TopkAcc:
        topk: [1, 2]

Launch:
  image: registry.example/ftlaunch-trainer:1.0
"""


def make_workspace(folder: Path) -> None:
    """Write a config, a list and nine images."""
    draws = np.random.default_rng(0)
    (folder / "data").mkdir()
    for index in range(9):
        side = 32 + index
        cv2.imwrite(
            str(folder / f"data/{index}.png"), draws.integers(0, 255, (side, side, 3), dtype=np.uint8)
        )
    (folder / "train_list.txt").write_text("".join(f"{index}.png {index % 3}\n" for index in range(9)))
    (folder / "cfg.yaml").write_text(CONFIG)


def rewrite(old: str, new: str) -> Callable[[Path], None]:
    """Replace a text of the config by another, in Latin-1 as an old editor saves it."""

    def change(folder: Path) -> None:
        path = folder / "cfg.yaml"
        text = path.read_text()
        assert old in text
        path.write_bytes(text.replace(old, new, 1).encode("latin-1"))

    return change


def values(**changes: Any) -> Callable[[Path], None]:
    """Set values of the config: `Section__key=value`."""

    def change(folder: Path) -> None:
        path = folder / "cfg.yaml"
        document = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            *parents, last = key.split("__")
            here = document
            for parent in parents:
                here = here[parent]
            here[last] = value
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    return change


def evaluate(folder: Path) -> None:
    """Have the config measure what it trains."""
    path = folder / "cfg.yaml"
    document = yaml.safe_load(path.read_text())
    document["Global"] |= {"eval_during_train": True, "eval_interval": 1}
    document["DataLoader"]["Eval"] = document["DataLoader"]["Train"]
    document["Metric"]["Eval"] = document["Metric"]["Train"]
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def begin_a_study(folder: Path) -> None:
    """Leave a study called rates behind."""
    from launcher.sweep.study import Settings, begin_study

    evaluate(folder)
    settings = Settings(
        name="rates", study_id="0" * 32, config=str(folder / "cfg.yaml"), workdir=str(folder), created_s=1.0,
        over=("Optimizer.lr.learning_rate=[0.1]",), on="local", options={}, sampler="grid", prune="none",
        metric="top1", goal="max", trials=1, parallel=1, epochs=2,
    )  # fmt: skip
    begin_study(settings, (folder / "cfg.yaml").read_bytes())


def edit(name: str, how: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Change the content of a file."""

    def change(folder: Path) -> None:
        (folder / name).write_bytes(how((folder / name).read_bytes()))

    return change


def edit_list(how: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    """Change the lines of the list file."""

    def change(content: bytes) -> bytes:
        return "".join(f"{line}\n" for line in how(content.decode().splitlines())).encode()

    return edit("train_list.txt", change)


def finish_a_run(*, arch: str = "PPLCNet_x0_25", keep: str | None = None) -> Callable[..., None]:
    """Train in the folder first; `keep` is the new name of its weights, the rest of its output then goes."""

    def change(folder: Path) -> None:
        from trainer.config.load import load_config
        from trainer.engine.run import run_training
        from trainer.ranks import Ranks

        overrides = [f"Arch.name={arch}", "Global.epochs=1"]
        run_training(load_config(Path("cfg.yaml"), overrides).config, Ranks())
        if keep is not None:
            (folder / "output/latest.pdparams").rename(folder / keep)
            shutil.rmtree(folder / "output")

    return change


def fail_writes() -> Callable[..., Callable[[], None]]:
    """Let the disk be full once weights are written; returns what undoes it."""

    def change(folder: Path) -> Callable[[], None]:
        # Python imports a module of this name at its start: that of the process that writes, too.
        (folder / "full").mkdir()
        (folder / "full/sitecustomize.py").write_text(_FULL_DISK)
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = str(folder / "full")

        def undo() -> None:
            del os.environ["PYTHONPATH"]
            if before is not None:
                os.environ["PYTHONPATH"] = before

        return undo

    return change


_FULL_DISK = """
import errno, os
real = os.fsync

def fsync(fd):
    if os.readlink(f"/proc/self/fd/{fd}").endswith(".pdparams"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    real(fd)

os.fsync = fsync
"""
