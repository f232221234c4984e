"""What a config asks for and does not get is said once, at its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from trainer.config.load import load_config
from trainer.config.problems import ConfigError

DECODE: dict[str, Any] = {"DecodeImage": None}
NORMALIZE: dict[str, Any] = {"NormalizeImage": {"order": ""}}
MODELS = [
    {"Teacher": {"name": "ResNet18", "class_num": 2}},
    {"Student": {"name": "ResNet18", "class_num": 2}},
]
DISTILLATION = {
    "Arch": {"name": "DistillationModel", "models": MODELS, "freeze_params_list": [True, False]},
    "Loss": {"Train": [{"DistillationCELoss": {"model_name_pairs": [["Student", "Teacher"]]}}]},
}
STEPS = {"name": "Piecewise", "decay_epochs": [30, 60], "values": [0.1, 0.01, 0.001]}


def write(folder: Path, sections: dict[str, Any], ops: list[Any]) -> Path:
    body: dict[str, Any] = {
        "Global": {"epochs": 1, "device": "gpu"},
        "Arch": {"name": "ResNet18", "class_num": 2},
        "Loss": {"Train": [{"CELoss": None}]},
        "Optimizer": {"name": "Momentum", "lr": {"name": "Cosine", "learning_rate": 0.1}},
        "DataLoader": {
            "Train": {
                "dataset": {
                    "name": "ImageNetDataset", "image_root": "x", "cls_label_path": "y", "transform_ops": ops,
                },
                "sampler": {"batch_size": 1},
            }
        },
    }  # fmt: skip
    for key, value in sections.items():
        whole = key in DISTILLATION and "models" in str(value)
        body[key] = value if whole or not isinstance(value, dict) else {**body.get(key, {}), **value}
    path = folder / "cfg.yaml"
    path.write_text(yaml.safe_dump(body))
    return path


@pytest.mark.parametrize(
    ("sections", "ops", "path"),
    [
        ({"Profiler": {"batch_range": "[10,20]"}}, [], "Profiler"),
        ({"Slim": {"distill": "x"}}, [], "Slim.distill"),
        ({"Global": {"use_dali": True}}, [], "Global.use_dali"),
        ({"Global": {"image_channel": 4}}, [], "Global.image_channel"),
        ({"Global": {"print_mem_info": True}}, [], "Global.print_mem_info"),
        ({"Global": {"log_ranks": "0,1"}}, [], "Global.log_ranks"),
        ({"Global": {"class_num": 7}}, [], "Global.class_num"),
        ({"Global": {"feature_normalize": True}}, [], "Global.feature_normalize"),
        ({"Arch": {"use_ssld": True}}, [], "Arch.use_ssld"),
        ({"Arch": {"use_sync_bn": True}, "Global": {"device": "cpu"}}, [], "Arch.use_sync_bn"),
        ({"Arch": {"infer_add_softmax": False}}, [], "Arch.infer_add_softmax"),
        (
            {"Arch": {"return_stages": True, "return_patterns": ["blocks[0]"]}}, [], "Arch.return_stages",
        ),
        (
            {"Arch": {"name": "SwinTransformer_tiny_patch4_window7_224", "use_fused_attn": True}}, [],
            "Arch.use_fused_attn",
        ),
        (
            {"Optimizer": {"regularizer": {"name": "L2", "coeff": 0.1}, "weight_decay": 0.1}}, [],
            "Optimizer.weight_decay",
        ),
        (
            {"Optimizer": {"one_dim_param_no_weight_decay": True}}, [],
            "Optimizer.one_dim_param_no_weight_decay",
        ),
        ({"Optimizer": {"name": "RMSProp", "multi_precision": True}}, [], "Optimizer.multi_precision"),
        (
            {"Optimizer": {"lr": {"name": "Cosine", "learning_rate": 0.1, "step_each_epoch": 5}}}, [],
            "Optimizer.lr.step_each_epoch",
        ),
        ({"Optimizer": {"lr": {**STEPS, "learning_rate": 0.2}}}, [], "Optimizer.lr.learning_rate"),
        ({"Loss": {"Train": [{"CELoss": {"weight": 2.5}}]}}, [], "Loss.Train.0.CELoss.weight"),
        (
            {}, [{"ResizeImage": {"size": 8, "return_numpy": False}}],
            "DataLoader.Train.dataset.transform_ops.1.ResizeImage.return_numpy",
        ),
        (
            {
                **DISTILLATION,
                "Infer": {"PostProcess": {"name": "DistillationPostProcess", "model_name": "Teacher"}},
            },
            [], "Infer.PostProcess.model_name",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_has_no_effect_is_said_once_and_is_an_error_with_strict(tmp_path, sections, ops, path):
    file = write(tmp_path, sections, [DECODE, *ops, NORMALIZE])
    told = [problem for problem in load_config(file).warnings if ".".join(map(str, problem.path)) == path]
    assert len(told) == 1
    assert told[0].line is not None
    with pytest.raises(ConfigError) as caught:
        load_config(file, strict=True)
    assert [problem.warning for problem in caught.value.problems if problem.path == told[0].path] == [False]


@pytest.mark.parametrize("key", ["quant", "prune"])
def test_what_would_change_the_network_is_refused_by_name_beside_other_problems(tmp_path, key):
    slim = {key: {"name": "some_method"}}
    file = write(tmp_path, {"Slim": slim, "Global": {"epochs": "many"}}, [DECODE, NORMALIZE])
    with pytest.raises(ConfigError, match=f"Slim.{key}: expected none, got 'some_method'") as caught:
        load_config(file)
    assert "Global.epochs" in str(caught.value)


def test_an_empty_section_asks_for_nothing(tmp_path):
    file = write(tmp_path, {"Slim": None, "Profiler": None}, [DECODE, NORMALIZE])
    assert load_config(file, strict=True).warnings == ()


@pytest.mark.parametrize(("rate", "same"), [(0.1, True), (0.015, False)])
def test_a_rate_beside_values_is_said_to_replace_them_also_where_it_is_the_same(tmp_path, rate, same):
    lr = {**STEPS, "learning_rate": rate}
    (told,) = load_config(write(tmp_path, {"Optimizer": {"lr": lr}}, [DECODE, NORMALIZE])).warnings
    assert told.path == ("Optimizer", "lr", "learning_rate")
    assert "decay_epochs" in told.message
    assert ("which here is the same" in told.message) == same


def test_keys_of_piecewise_under_another_schedule_replace_nothing_and_have_no_effect(tmp_path):
    lr = {**STEPS, "name": "Cosine", "learning_rate": 0.1}
    told = load_config(write(tmp_path, {"Optimizer": {"lr": lr}}, [DECODE, NORMALIZE])).warnings
    assert {problem.path[-1] for problem in told} == {"decay_epochs", "values"}
    assert all("has no effect" in problem.message for problem in told)


def test_a_topk_above_the_number_of_classes_is_said(tmp_path):
    metric = {"Metric": {"Train": [{"TopkAcc": {"topk": [1, 5]}}]}}
    (told,) = load_config(write(tmp_path, metric, [DECODE, NORMALIZE])).warnings
    assert told.path == ("Metric", "Train", 0, "TopkAcc", "topk")
    assert "got [5]" in told.message


def test_a_picture_that_opencv_makes_no_picture_of_is_said_to_be_bgr(tmp_path):
    file = write(tmp_path, {}, [{"DecodeImage": {"to_np": False}}, NORMALIZE])
    loaded = load_config(file)
    assert [problem.path[-1] for problem in loaded.warnings] == ["to_np"]
    assert not loaded.config.data.Train.dataset.transform_ops[0].makes_rgb


def test_networks_that_say_how_many_classes_they_have_say_it_for_arch(tmp_path):
    post = {"name": "DistillationPostProcess", "func": "Topk", "topk": 2}
    file = write(tmp_path, {**DISTILLATION, "Infer": {"PostProcess": post}}, [DECODE, NORMALIZE])
    config = load_config(file).config
    assert config.arch.class_num == 2
    assert config.infer.post_process.topk == (2,)


@pytest.mark.parametrize(
    ("arch", "layers"),
    [
        ({"name": "ResNet34", "return_stages": True}, ("blocks[2]", "blocks[6]", "blocks[12]", "blocks[15]")),
        ({"name": "PPLCNet_x1_0", "return_stages": 1}, ("blocks3",)),
        ({"name": "VGG11", "return_stages": [0, 4]}, ("conv_block_1", "conv_block_5")),
        ({"name": "HRNet_W18_C", "return_stages": False}, ()),
        ({"name": "PPLCNet_x1_0", "return_stages": True, "return_patterns": ["conv1"]}, ("conv1",)),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_stages_name_layers(tmp_path, arch, layers):
    assert load_config(write(tmp_path, {"Arch": arch}, [DECODE, NORMALIZE])).config.arch.features == layers


@pytest.mark.parametrize(
    ("arch", "says"),
    [
        ({"name": "PPLCNet_x1_0", "return_stages": [5]}, "return_stages below 5, the number of stages"),
        ({"name": "PPHGNet_tiny", "return_stages": True}, "expected return_patterns, which name layers"),
        ({"name": "ResNet50", "use_first_short_conv": False}, "use_first_short_conv: True of ResNet50"),
        ({"name": "MobileNetV3_small_x1_0", "dropout_prob": "none"}, "dropout_prob: expected a number"),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_a_network_that_has_no_such_thing_refuses_it(tmp_path, arch, says):
    with pytest.raises(ConfigError, match=says):
        load_config(write(tmp_path, {"Arch": arch}, [DECODE, NORMALIZE]))


@pytest.mark.parametrize("op", ["RandAugment", "RandAugmentV2", "RandAugmentV3"])
def test_a_magnitude_may_be_above_ten(tmp_path, op):
    file = write(tmp_path, {}, [DECODE, {op: {"magnitude": 15.0}}, NORMALIZE])
    assert load_config(file).config.data.Train.dataset.transform_ops[1].magnitude == 15.0


@pytest.mark.parametrize("key", ["backend", "interpolation"])
def test_names_of_libraries_and_interpolations_may_have_capitals(tmp_path, key):
    value = {"backend": "PIL", "interpolation": "Bilinear"}[key]
    for op in ("ResizeImage", "RandCropImage"):
        file = write(tmp_path, {}, [DECODE, {op: {"size": 8, key: value}}, NORMALIZE])
        assert getattr(load_config(file).config.data.Train.dataset.transform_ops[1], key) == value.lower()
