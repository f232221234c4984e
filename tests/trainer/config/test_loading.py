from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from trainer.config.load import load_config
from trainer.config.problems import ConfigError
from trainer.config.schema import json_schema
from trainer.protocol.pathmap import PathMap


def test_a_typical_config_loads_without_a_warning(config: Any) -> None:
    loaded = config.load(strict=True)
    assert loaded.warnings == ()
    assert loaded.config.arch.name == "ResNet50_vd"
    assert loaded.config.optimizer.lr.learning_rate == 0.0125
    assert loaded.config.data.Train.dataset.transform_ops[3].scale == 1.0 / 255.0
    assert loaded.config.infer.post_process.topk == (3,)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("learning_rate: 0.0125", "learning_rate: fast",
         "cfg.yaml:17:37: Optimizer.lr.learning_rate: expected a number, got 'fast'"),
        ("epochs: 2", "epochs: 0", "cfg.yaml:4:11: Global.epochs: expected a number above 0, got 0"),
        ("  epochs: 2\n", "", "cfg.yaml:2:3: Global.epochs: expected a value, got nothing; add it"),
        ("epochs: 2", "epochs: 2.5", "cfg.yaml:4:11: Global.epochs: expected a whole number, got 2.5"),
        ("learning_rate: 0.0125", "learning_rate: .inf",
         "cfg.yaml:17:37: Optimizer.lr.learning_rate: expected a finite number, got inf"),
        ("output_dir: ./output/", "output_dir: no",
         "cfg.yaml:2:15: Global.output_dir: expected text, got False (YAML reads 'no' so); quote it"),
        ("output_dir: ./output/", "output_dir: 1.10",
         "cfg.yaml:2:15: Global.output_dir: expected text, got 1.1 (YAML reads '1.10' so); quote it "
         "twice: \"'1.10'\""),
        ("device: cpu", "device: tpu", "cfg.yaml:3:11: Global.device: expected 'gpu', 'gpu:N' or 'cpu', "
                                       "got 'tpu'"),
        ("name: ResNet50_vd", "name: ResNet50vd", "cfg.yaml:7:3: Arch: expected one of ResNet18, ResNet34, "
         "ResNet50, ResNet101, ResNet152, ResNet200, ResNet18_vd, ResNet34_vd, …, got 'ResNet50vd'; "
         "did you mean 'ResNet50_vd'?"),
        ("  name: ResNet50_vd\n", "",
         "cfg.yaml:7:3: Arch: expected a mapping with `name`, got {'class_num': 102}"),
        ("class_num: 102", "class_num: 102\n  class_nums: 3",
         "cfg.yaml:9:15: Arch.class_nums: expected a parameter that exists here, got "
         "'class_nums'; did you mean 'class_num'?"),
        ("RandFlipImage: {flip_code: 1}", "RandFlipImg: {flip_code: 1}",
         "cfg.yaml:28:11: DataLoader.Train.dataset.transform_ops.2: expected one of DecodeImage, "
         "ResizeImage, CropImage, RandCropImage, RandFlipImage, NormalizeImage, ToCHWImage, RandomErasing, "
         "…, got 'RandFlipImg'; did you mean 'RandFlipImage'?"),
        ("RandCropImage: {size: 224}", "RandCropImage: {sise: 224, size: 3}",
         "cfg.yaml:27:33: DataLoader.Train.dataset.transform_ops.1.RandCropImage.sise: expected a parameter "
         "that exists here, got 'sise'; did you mean 'size'?"),
        ("num_workers: 4", "num_workers: 4, rng: paddleclas",
         "cfg.yaml:31:13: DataLoader.Train.loader: expected num_workers: 0 with rng: paddleclas, got 4"),
    ],
)  # fmt: skip
def test_a_problem_is_told_with_its_place(old: str, new: str, message: str, config: Any) -> None:
    assert config.change(old, new).refusal() == message


def test_all_problems_are_reported_at_once(config: Any) -> None:
    config.change("epochs: 2", "epochs: x").change("momentum: 0.9", "momentum: 2").change(
        "seed: 42", "sed: 42"
    )
    assert config.refusals() == [
        "cfg.yaml:4:11: Global.epochs: expected a whole number, got 'x'",
        "cfg.yaml:16:13: Optimizer.momentum: expected a number below 1, got 2",
        "cfg.yaml:5:8: warning: Global.sed: expected a key that exists here, got 'sed', which has no effect; "
        "did you mean 'seed'?",
    ]


def test_an_unknown_key_of_a_section_is_a_warning(config: Any) -> None:
    config.change("seed: 42", "sed: 42").change("Metric:", "Metrik: {}\nMetric:")
    assert config.warnings() == [
        "cfg.yaml:5:8: warning: Global.sed: expected a key that exists here, got 'sed', which has no effect; "
        "did you mean 'seed'?",
        "cfg.yaml:41:9: warning: Metrik: expected a key that exists here, got 'Metrik', which has no effect; "
        "did you mean 'Metric'?",
    ]


def test_a_config_that_passes_is_checked_without_the_schema_of_everything(config: Any) -> None:
    json_schema.cache_clear()
    assert not config.load().warnings
    assert json_schema.cache_info().misses == 0


def test_an_unknown_key_is_an_error_when_strict(config: Any) -> None:
    (line,) = config.change("seed: 42", "sed: 42").refusals(strict=True)
    assert line.startswith("cfg.yaml:5:8: Global.sed: expected a key that exists here")


def test_a_parameter_that_adamw_swallows_is_a_warning(config: Any) -> None:
    config.change("name: Momentum\n  momentum: 0.9", "name: AdamW\n  clip_grad: 5")
    config.change("regularizer: {name: 'L2', coeff: 0.00007}", "weight_decay: 0.00007")
    assert config.warnings() == [
        "cfg.yaml:16:14: warning: Optimizer.clip_grad: expected a key that exists here, got 'clip_grad', "
        "which has no effect; did you mean 'clip_norm'?"
    ]


def test_the_section_of_the_launcher_is_left_alone(config: Any) -> None:
    config.text += "Launch: {gpus: 4}\n"
    assert config.load(strict=True).warnings == ()


def test_a_number_like_1e_3_is_a_number(config: Any) -> None:
    loaded = config.change("0.0125", "1e-3").load()
    assert loaded.config.optimizer.lr.learning_rate == 0.001


def test_the_old_place_of_class_num_is_read_where_arch_has_none(config: Any) -> None:
    config.change("  class_num: 102\n", "").change("seed: 42", "class_num: 7")
    assert config.load().config.arch.class_num == 7


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()], ids=["missing", "folder"])
def test_a_config_that_cannot_be_read_is_refused(make: Any, tmp_path: Path) -> None:
    make(tmp_path / "cfg.yaml")
    with pytest.raises(ConfigError, match=r"cfg\.yaml: expected a (config|readable) file"):
        load_config(tmp_path / "cfg.yaml")


def test_the_path_map_changes_path_keys_only(config: Any) -> None:
    config.change("./data/train_list.txt", "/data/train_list.txt").change("./output/", "/output/x")
    config.text += "Launch: {image_root: /data}\n"
    config.path.write_text(config.text)
    loaded = load_config(config.path, path_map=PathMap({"/data": "/here", "/output": "/there"}))
    assert loaded.config.data.Train.dataset.cls_label_path == "/here/train_list.txt"
    assert loaded.config.data.Train.dataset.image_root == "./data/"
    assert loaded.config.run.output_dir == "/there/x"
    assert loaded.config.model_extra == {"Launch": {"image_root": "/data"}}


def test_loading_takes_less_than_a_third_of_a_second_and_no_heavy_library(config: Any) -> None:
    config.load()
    began_s = time.process_time()
    config.load()
    assert time.process_time() - began_s < 0.3
    code = (
        "import sys, pathlib; from trainer.config.load import load_config; "
        f"load_config(pathlib.Path({str(config.path)!r})); "
        "sys.exit(','.join({'paddle', 'numpy', 'cv2', 'PIL'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
