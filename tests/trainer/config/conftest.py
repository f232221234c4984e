from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.config.load import Loaded, load_config
from trainer.config.problems import ConfigError
from trainer.config.root import TrainConfig

TYPICAL = """\
Global:
  output_dir: ./output/
  device: cpu
  epochs: 2
  seed: 42
Arch:
  name: ResNet50_vd
  class_num: 102
Loss:
  Train:
    - CELoss: {weight: 1.0, epsilon: 0.1}
  Eval:
    - CELoss: {weight: 1.0}
Optimizer:
  name: Momentum
  momentum: 0.9
  lr: {name: Cosine, learning_rate: 0.0125, warmup_epoch: 1}
  regularizer: {name: 'L2', coeff: 0.00007}
DataLoader:
  Train:
    dataset:
      name: ImageNetDataset
      image_root: ./data/
      cls_label_path: ./data/train_list.txt
      transform_ops:
        - DecodeImage: {to_rgb: True, channel_first: False}
        - RandCropImage: {size: 224}
        - RandFlipImage: {flip_code: 1}
        - NormalizeImage: {scale: 1.0/255.0, mean: [0.5, 0.4, 0.3], std: [0.2, 0.2, 0.2], order: ''}
    sampler: {name: DistributedBatchSampler, batch_size: 16, drop_last: False, shuffle: True}
    loader: {num_workers: 4, use_shared_memory: True}
Infer:
  infer_imgs: ./data/val/a.jpg
  transforms:
    - DecodeImage: {to_rgb: True, channel_first: False}
    - ResizeImage: {resize_short: 256}
    - CropImage: {size: 224}
    - NormalizeImage: {order: ''}
    - ToCHWImage:
  PostProcess: {name: Topk, topk: 3, class_id_map_file: ./data/labels.txt}
Metric:
  Train:
    - TopkAcc: {topk: [1, 5]}
  Eval:
    - TopkAcc: {topk: [1, 5]}
"""


class Config:
    """A config file that a test changes, loads, and is refused."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cfg.yaml"
        self.text = TYPICAL

    def change(self, old: str, new: str) -> Config:
        assert self.text.count(old) >= 1, f"{old!r} is not in the typical config"
        self.text = self.text.replace(old, new, 1)
        return self

    def load(self, *overrides: str, strict: bool = False) -> Loaded[TrainConfig]:
        self.path.write_text(self.text, encoding="utf-8")
        return load_config(self.path, overrides, strict=strict)

    def warnings(self, *overrides: str) -> list[str]:
        return [self._short(str(problem)) for problem in self.load(*overrides).warnings]

    def refusals(self, *overrides: str, strict: bool = False) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(*overrides, strict=strict)
        return [self._short(str(problem)) for problem in caught.value.problems]

    def refusal(self, *overrides: str) -> str:
        (line,) = self.refusals(*overrides)
        return line

    def _short(self, line: str) -> str:
        return line.replace(str(self.path), "cfg.yaml")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path)


@pytest.fixture
def refused() -> Callable[[Callable[[], object]], list[str]]:
    def run(work: Callable[[], object]) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            work()
        return [str(problem) for problem in caught.value.problems]

    return run
