"""What the configs that PaddleClas ships ask for: the smallest config of ours for each thing.

For machines that do not have the real ones (`shipped`). Seen in release/2.6 (d178931), ppcls/configs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One thing that a config may ask for.

    Attributes:
        name: Such as `Arch.drop_path_rate` or `Train: GridMask`.
        configs: In how many it was seen, to tell what is common from what is rare.
        changes: What a config says to ask for it, by dotted path.
    """

    name: str
    configs: int
    changes: dict[str, Any] = field(default_factory=dict)


def features() -> Iterator[Feature]:
    """Yield all of them."""
    for make in (_globals, _arches, _optimizers, _schedules, _losses, _ops, _op_parameters, _data, _others):
        yield from make()


def _named(prefix: str, table: dict[str, tuple[int, dict[str, Any]]]) -> Iterator[Feature]:
    for name, (configs, changes) in table.items():
        yield Feature(name=f"{prefix}{name}", configs=configs, changes=changes)


def _globals() -> Iterator[Feature]:
    values: dict[str, tuple[int, Any]] = {
        "checkpoints": (422, None), "pretrained_model": (422, None), "output_dir": (422, "./output/"),
        "device": (422, "gpu"), "save_interval": (422, 1), "eval_during_train": (422, True),
        "eval_interval": (422, 1), "epochs": (422, 120), "print_batch_step": (422, 10),
        "use_visualdl": (422, False), "image_shape": (422, [3, 224, 224]),
        "save_inference_dir": (422, "./inference"), "to_static": (134, False), "update_freq": (11, 5),
        "start_eval_epoch": (30, 40), "use_dali": (0, False),
    }  # fmt: skip
    for key, (configs, value) in values.items():
        yield Feature(name=f"Global.{key}", configs=configs, changes={f"Global.{key}": value})
    yield Feature(name="Global.use_dali: True", configs=9, changes={"Global.use_dali": True})
    yield Feature(name="Global.image_channel", configs=3, changes={"Global.image_channel": 3})
    yield Feature(name="Global.train_mode", configs=1, changes=_PROGRESSIVE)
    multilabel = {
        "Global.use_multilabel": True,
        "Loss.Train": [{"MultiLabelLoss": {"weight": 1.0}}],
        "Metric": {"Eval": [{"ATTRMetric": None}]},
        "DataLoader.Train.dataset.name": "MultiLabelDataset",
    }
    yield Feature(name="Global.use_multilabel", configs=14, changes=multilabel)


def _arches() -> Iterator[Feature]:
    swin, convnext, b0 = "SwinTransformer_tiny_patch4_window7_224", "ConvNeXt_tiny", "EfficientNetB0"
    table: dict[str, tuple[int, str, Any]] = {
        "class_num": (408, "ResNet50", 1000), "pretrained": (64, "ResNet50_vd", True),
        "drop_path_rate": (40, swin, 0.2),
        "drop_rate": (34, swin, 0.1), "use_fused_attn": (8, swin, False),
        "use_fused_linear": (6, swin, False), "layer_scale_init_value": (6, convnext, 1e-6),
        "head_init_scale": (6, convnext, 1.0), "dropout": (6, "DenseNet121", 0.1),
        "override_params": (5, b0, {"drop_connect_rate": 0.1}),
        "classifier_dropout": (3, "MobileNetV4_conv_small", 0.2),
        "input_image_channel": (3, "ResNet50", 3), "return_stages": (2, "PPLCNet_x1_0", True),
        "use_sync_bn": (21, "PPLCNet_x1_0", True),
        "layer_type": (1, "ResNet18", "DiverseBranchBlock"), "use_first_short_conv": (1, "ResNet18", False),
        "infer_add_softmax": (5, "PPLCNet_x1_0", False),
        "stride_list": (4, "PPLCNet_x1_0", [2, [2, 1], [2, 1], [2, 1], [2, 1]]),
        "use_last_conv": (2, "PPLCNet_x1_0", False),
        "lr_mult_list": (2, "PPLCNet_x1_0", [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
    }  # fmt: skip
    for key, (configs, name, value) in table.items():
        yield Feature(name=f"Arch.{key}", configs=configs, changes={"Arch.name": name, f"Arch.{key}": value})
    ssld = {"Arch.name": "PPLCNet_x1_0", "Arch.pretrained": True, "Arch.use_ssld": True}
    yield Feature(name="Arch.use_ssld", configs=24, changes=ssld)
    nhwc = {"Arch.name": "ResNet50", "Arch.data_format": "NHWC"}
    yield Feature(name="Arch.data_format: NHWC", configs=3, changes=nhwc)


def _optimizers() -> Iterator[Feature]:
    adamw = {"Optimizer.name": "AdamW", "Optimizer.regularizer": ..., "Optimizer.momentum": ...}
    rms = {"Optimizer.name": "RMSProp"}
    yield from _named("Optimizer: ", {"Momentum": (297, {}), "AdamW": (102, adamw), "RMSProp": (13, rms)})
    table: dict[str, tuple[int, Any]] = {
        "epsilon": (115, 1e-8), "weight_decay": (109, 0.05), "beta1": (102, 0.9), "beta2": (102, 0.999),
        "one_dim_param_no_weight_decay": (102, True), "no_weight_decay_name": (80, "pos_embed norm"),
        "clip_grad": (18, 5.0),
    }  # fmt: skip
    for key, (configs, value) in table.items():
        changes = {**adamw, f"Optimizer.{key}": value}
        yield Feature(name=f"Optimizer.{key}", configs=configs, changes=changes)
    table = {"rho": (13, 0.9), "momentum": (252, 0.9)}
    for key, (configs, value) in table.items():
        changes = {**rms, f"Optimizer.{key}": value}
        yield Feature(name=f"Optimizer.{key}", configs=configs, changes=changes)
    table = {"clip_norm": (7, 1.0), "multi_precision": (4, True), "use_nesterov": (1, True)}
    for key, (configs, value) in table.items():
        yield Feature(name=f"Optimizer.{key}", configs=configs, changes={f"Optimizer.{key}": value})
    decay = {"Optimizer.regularizer": {"name": "L2", "coeff": 1e-4}}
    yield Feature(name="Optimizer.regularizer", configs=245, changes=decay)


def _schedules() -> Iterator[Feature]:
    piecewise = {"name": "Piecewise", "decay_epochs": [30, 60], "values": [0.1, 0.01, 0.001]}
    table: dict[str, tuple[int, dict[str, Any]]] = {
        "Cosine": (252, {"name": "Cosine", "learning_rate": 0.1}),
        "Piecewise": (93, {**piecewise, "learning_rate": 0.1}),
        "Step": (5, {"name": "Step", "learning_rate": 0.1, "step_size": 2.4, "gamma": 0.97}),
        "MultiStepDecay": (
            4, {"name": "MultiStepDecay", "learning_rate": 0.1, "milestones": [30, 60], "gamma": 0.1}
        ),
        "warmup_epoch": (183, {"name": "Cosine", "learning_rate": 0.1, "warmup_epoch": 5}),
        "warmup_start_lr": (
            108, {"name": "Cosine", "learning_rate": 0.1, "warmup_epoch": 5, "warmup_start_lr": 1e-6}
        ),
        "eta_min": (103, {"name": "Cosine", "learning_rate": 0.1, "eta_min": 1e-6}),
        "by_epoch": (6, {"name": "Cosine", "learning_rate": 0.1, "by_epoch": True}),
        "step_each_epoch": (
            4, {"name": "MultiStepDecay", "learning_rate": 0.1, "milestones": [30], "step_each_epoch": 1252}
        ),
    }  # fmt: skip
    for name, (configs, value) in table.items():
        yield Feature(name=f"lr: {name}", configs=configs, changes={"Optimizer.lr": value})


def _losses() -> Iterator[Feature]:
    yield Feature(name="CELoss.epsilon", configs=100, changes={"Loss.Train": [{"CELoss": {"epsilon": 0.1}}]})
    for name, configs in DISTILLATION.items():
        yield Feature(name=name, configs=configs, changes=distillation(name))
    labels = {"Loss.Train": [{"GoogLeNetLoss": {"weight": 1.0}}], "Loss.Eval": [{"GoogLeNetLoss": None}]}
    top = {"Metric": {"Eval": [{"GoogLeNetTopkAcc": {"topk": [1, 5]}}]}, "Arch.name": "GoogLeNet"}
    yield Feature(name="GoogLeNetLoss", configs=1, changes={**labels, **top})
    triplet = {"Loss.Train": [{"TripletLossV2": {"weight": 1.0}}]}
    yield Feature(name="TripletLossV2", configs=1, changes=triplet)
    fpr = {"Metric": {"Eval": [{"TprAtFpr": None}]}, "Arch.class_num": 2}
    yield Feature(name="TprAtFpr", configs=16, changes=fpr)


DISTILLATION = {
    "DistillationGTCELoss": 10, "DistillationDMLLoss": 15, "DistillationCELoss": 5, "DistillationPairLoss": 2,
    "DistillationDistanceLoss": 2, "DistillationKLDivLoss": 1, "AFDLoss": 1, "DistillationDISTLoss": 1,
    "DistillationDKDLoss": 1, "DistillationSKDLoss": 1, "DistillationWSLLoss": 1,
    "DistillationMultiLabelLoss": 3,
}  # fmt: skip
"""Losses of two models, and the number of configs with them; one config may have two of them."""


def distillation(loss: str) -> dict[str, Any]:
    """Return what a config with two models says."""
    models: list[dict[str, dict[str, Any]]] = [
        {"Teacher": {"name": "ResNet50_vd", "class_num": 1000, "pretrained": True, "use_ssld": True}},
        {"Student": {"name": "PPLCNet_x1_0", "class_num": 1000, "pretrained": False}},
    ]
    arch = {
        "name": "DistillationModel", "class_num": 1000, "pretrained_list": None,
        "freeze_params_list": [True, False], "infer_model_name": "Student", "models": models,
    }  # fmt: skip
    names: dict[str, Any] = {"weight": 1.0, "model_names": ["Student"]}
    if loss not in ("DistillationGTCELoss", "DistillationMultiLabelLoss"):
        names = {"weight": 1.0, "model_name_pairs": [["Student", "Teacher"]]}
    if loss == "DistillationSKDLoss":
        names["temperature"] = 1.0
    if loss == "DistillationPairLoss":
        names |= {
            "base_loss_name": "MGDLoss", "s_keys": ["blocks6"], "t_keys": ["blocks[15]"],
            "student_channels": 512, "teacher_channels": 2048,
        }  # fmt: skip
        models[0]["Teacher"]["return_patterns"] = ["blocks[15]"]
        models[1]["Student"]["return_patterns"] = ["blocks6"]
    if loss == "DistillationMultiLabelLoss":
        labels = {
            "Global.use_multilabel": True, "DataLoader.Train.dataset.name": "MultiLabelDataset",
            "Loss.Eval": [{"MultiLabelLoss": None}], "Metric": {"Eval": [{"ATTRMetric": None}]},
        }  # fmt: skip
        return {"Arch": arch, "Loss.Train": [{loss: names}], **labels}
    topk = {"DistillationTopkAcc": {"model_key": "Student", "topk": [1, 5]}}
    return {
        "Arch": arch,
        "Loss.Train": [{loss: names}],
        "Loss.Eval": [{"CELoss": {"weight": 1.0}}],
        "Metric": {"Train": [topk], "Eval": [topk]},
    }


_BEFORE = "DataLoader.Train.dataset.transform_ops[-1]"
_PROGRESSIVE = {
    "Global.train_mode": "progressive",
    _BEFORE: {"RandCropImage": {"size": 224, "progress_size": [171, 214, 257, 300]}},
}
_AFTER = "DataLoader.Train.dataset.transform_ops[+1]"
_BATCH = "DataLoader.Train.dataset.batch_transform_ops"


def _ops() -> Iterator[Feature]:
    yield from _named("op ", {
        "RandFlipImage": (407, {_BEFORE: {"RandFlipImage": {"flip_code": 1}}}),
        "TimmAutoAugment": (
            136, {_BEFORE: {"TimmAutoAugment": {"config_str": "rand-m9-mstd0.5-inc1", "img_size": 224}}}
        ),
        "AutoAugment": (21, {_BEFORE: {"AutoAugment": None}}),
        "ColorJitter": (7, {_BEFORE: {"ColorJitter": {"brightness": 0.4, "contrast": 0.4}}}),
        "RandAugment": (1, {_BEFORE: {"RandAugment": {"num_layers": 2, "magnitude": 5}}}),
        "RandAugmentV2": (1, {_BEFORE: {"RandAugmentV2": {"num_layers": 2}}}),
        "RandAugmentV3": (7, {_BEFORE: {"RandAugmentV3": {"num_layers": 2}}}),
        "PCALighting": (1, {_AFTER: {"PCALighting": None}}),
        "RandomErasing": (137, {_AFTER: {"RandomErasing": {"EPSILON": 0.25}}}),
        "Cutout": (1, {_AFTER: {"Cutout": {"n_holes": 1, "length": 112}}}),
        "HideAndSeek": (1, {_AFTER: {"HideAndSeek": None}}),
        "GridMask": (
            1, {_AFTER: {"GridMask": {"d1": 96, "d2": 224, "rotate": 1, "ratio": 0.5, "mode": 0}}}
        ),
        "CropImageAtRatio": (1, {_BEFORE: {"CropImageAtRatio": {"size": 224, "pad": 32}}}),
        "RandomCropImage": (12, {_BEFORE: {"RandomCropImage": {"size": [192, 256]}}}),
        "Padv2": (12, {_BEFORE: {"Padv2": {"size": [212, 276], "pad_mode": 1, "fill_value": 0}}}),
        "BlurImage": (1, {_BEFORE: {"BlurImage": {"ratio": 0.5}}}),
        "RandomRot90": (1, {_BEFORE: {"RandomRot90": None}}),
        "MixupOperator": (45, {_BATCH: [{"MixupOperator": {"alpha": 0.2}}]}),
        "CutmixOperator": (1, {_BATCH: [{"CutmixOperator": {"alpha": 0.2}}]}),
        "OpSampler": (103, {_BATCH: [{"OpSampler": {
            "MixupOperator": {"alpha": 0.8, "prob": 0.5}, "CutmixOperator": {"alpha": 1.0, "prob": 0.5},
        }}]}),
    })  # fmt: skip


def _op_parameters() -> Iterator[Feature]:
    resize = {"resize_short": 256, "interpolation": "bicubic", "backend": "pil"}
    erase = {
        "EPSILON": 0.25, "sl": 0.02, "sh": 1.0 / 3.0, "r1": 0.3, "attempt": 10, "use_log_aspect": True,
        "mode": "pixel", "mean": [0.0, 0.0, 0.0],
    }  # fmt: skip
    crop = {"size": 224, "interpolation": "bicubic", "backend": "pil", "use_log_aspect": True}
    timm = {
        "config_str": "rand-m9-mstd0.5-inc1", "interpolation": "bicubic", "img_size": 224,
        "mean": [0.5, 0.5, 0.5],
    }  # fmt: skip
    for op, parameters, configs in (
        ("ResizeImage", resize, 133), ("RandCropImage", crop, 124), ("TimmAutoAugment", timm, 98),
    ):  # fmt: skip
        for key in parameters:
            given = {
                name: value for name, value in parameters.items() if name in (key, next(iter(parameters)))
            }
            yield Feature(name=f"{op}.{key}", configs=configs, changes={_BEFORE: {op: given}})
    for key, value in erase.items():
        yield Feature(
            name=f"RandomErasing.{key}", configs=97, changes={_AFTER: {"RandomErasing": {key: value}}}
        )
    first = "DataLoader.Train.dataset.transform_ops[0]"
    for key, value in (("to_rgb", True), ("channel_first", False), ("backend", "pil"), ("to_np", False)):
        given = {key: value, "backend": "pil"}
        yield Feature(name=f"DecodeImage.{key}", configs=54, changes={first: {"DecodeImage": given}})
    last = "DataLoader.Train.dataset.transform_ops[last]"
    half = {"scale": "1.0/255.0", "order": "", "output_fp16": True, "channel_num": 3}
    for key, value in half.items():
        given = {"order": "", key: value}
        yield Feature(
            name=f"NormalizeImage.{key}", configs=2 if key == "output_fp16" else 6,
            changes={last: {"NormalizeImage": given}},
        )  # fmt: skip
    yield Feature(name="RandCropImage.progress_size", configs=1, changes=_PROGRESSIVE)
    given = {"size": 224, "scale": [0.5, 1.0]}
    yield Feature(name="RandCropImage.scale", configs=1, changes={_BEFORE: {"RandCropImage": given}})


def _data() -> Iterator[Feature]:
    scaled = {
        "DataLoader.Train.dataset.name": "MultiScaleDataset",
        "DataLoader.Train.sampler": {
            "name": "MultiScaleSampler", "scales": [160, 192, 224], "first_bs": 64, "divided_factor": 32,
            "is_training": True,
        },
    }  # fmt: skip
    repeated = {"DataLoader.Train.sampler": {"name": "RASampler", "batch_size": 64, "shuffle": True}}
    label = {
        "DataLoader.Train.dataset": {
            "name": "CustomLabelDataset", "image_root": "x", "sample_list_path": "y",
            "label_key": "random_rot90_orientation",
            "transform_ops": [
                {"DecodeImage": None}, {"RandomRot90": None}, {"NormalizeImage": {"order": ""}},
            ],
        },
        "Arch.class_num": 4,
    }  # fmt: skip
    yield from _named("", {
        "MultiScaleSampler": (9, scaled), "RASampler": (1, repeated), "CustomLabelDataset": (2, label),
        "VeriWild": (2, {"DataLoader.Train.dataset.name": "VeriWild"}),
    })  # fmt: skip


def _others() -> Iterator[Feature]:
    infer = {
        "infer_imgs": "docs/x.jpg", "batch_size": 10,
        "transforms": [{"DecodeImage": None}, {"NormalizeImage": {"order": ""}}, {"ToCHWImage": None}],
    }  # fmt: skip
    post: dict[str, dict[str, Any]] = {
        "Topk": {"topk": 5}, "ThreshOutput": {"threshold": 0.9}, "PersonAttribute": {},
        "TableAttribute": {}, "VehicleAttribute": {},
    }  # fmt: skip
    classes = {"ThreshOutput": 2, "PersonAttribute": 26, "TableAttribute": 6, "VehicleAttribute": 19}
    for name, given in post.items():
        changes = {"Infer": {**infer, "PostProcess": {"name": name, **given}}}
        if name in classes:
            changes["Arch.class_num"] = classes[name]
        yield Feature(name=f"PostProcess: {name}", configs=23, changes=changes)
    yield Feature(name="EMA", configs=30, changes={"EMA": {"decay": 0.9999}})
    amp = {"AMP": {"use_amp": False, "use_fp16_test": False, "scale_loss": 128.0, "level": "O1"}}
    yield Feature(name="AMP", configs=354, changes=amp)
    dynamic = {"AMP": {"use_amp": True, "use_dynamic_loss_scaling": True, "level": "O2"}}
    yield Feature(name="AMP.use_amp", configs=0, changes=dynamic)
