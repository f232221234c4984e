"""The size of the images that a list of operations makes, and the networks that refuse it."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.config.pipeline import find_size

CROP = "RandCropImage: {size: 224}"
SAMPLER = "{name: DistributedBatchSampler, batch_size: 16, drop_last: False, shuffle: True}"


@pytest.mark.parametrize(
    ("op", "found"),
    [
        (CROP, (1, (224, 224))),
        ("CropImage: {size: [96, 64]}", (1, (96, 64))),
        ("RandomResizedCrop: {size: [96, 64]}", (1, (64, 96))),
        ("CenterCrop: {size: 48}", (1, (48, 48))),
        ("Resize: {size: [96, 64]}", (1, (64, 96))),
        ("Resize: {size: 64}", None),
        ("ResizeImage: {size: 64}", (1, (64, 64))),
        ("ResizeImage: {resize_short: 64}", None),
        ("CropImageAtRatio: {size: 64, pad: 8}", (1, (64, 64))),
        ("Padv2: {size: 64}", (1, (64, 64))),
        ("Padv2: {size_divisor: 64}", None),
        (f"{CROP}\n        - Pad: {{padding: 4}}", (2, (232, 232))),
        (f"{CROP}\n        - ResizeImage: {{resize_short: 64}}", (2, (64, 64))),
        (f"{CROP}\n        - RandomRot90:", (1, (224, 224))),
        ("CropImage: {size: [96, 64]}\n        - RandomRot90:", None),
        (f"{CROP}\n        - RandomRotation: {{degrees: 9}}", (1, (224, 224))),
        (f"{CROP}\n        - RandomRotation: {{degrees: 9, expand: True}}", None),
    ],
)
def test_the_last_operation_that_sets_a_size_counts(op: str, found: object, config: Any) -> None:
    loaded = config.change(CROP, op).load()
    assert find_size(loaded.config.data.Train.dataset.transform_ops) == found


@pytest.mark.parametrize(
    ("arch", "size", "expected"),
    [
        ("ViT_base_patch16_384", "224", "384 × 384, which ViT_base_patch16_384 is for, got 224 × 224"),
        ("DeiT_tiny_distilled_patch16_224", "[224, 192]", "is for, got 224 × 192"),
        ("VGG16", "256", "expected 224 × 224, which VGG16 is for, got 256 × 256"),
        ("HRNet_W18_C", "[224, 200]", "sides that are multiples of 32, which HRNet_W18_C takes, got"),
    ],
)  # fmt: skip
def test_a_crop_that_a_network_refuses_has_its_place(
    arch: str, size: str, expected: str, config: Any
) -> None:
    config.change("ResNet50_vd", arch).change(CROP, f"RandCropImage: {{size: {size}}}")
    line = next(n for n, text in enumerate(config.text.splitlines(), 1) if "RandCropImage" in text)
    refusal = config.refusal()
    assert refusal.startswith(f"cfg.yaml:{line}:")
    assert "transform_ops.1.RandCropImage.size: " in refusal
    assert expected in refusal


@pytest.mark.parametrize(
    ("arch", "side"), [("ViT_base_patch16_384", 384), ("HRNet_W18_C", 160), ("VGG16", 224), ("VGG11", 240)]
)
def test_a_size_that_a_network_takes_is_taken(arch: str, side: int, config: Any) -> None:
    config.change("ResNet50_vd", arch).change(CROP, f"RandCropImage: {{size: {side}}}").load()


def test_images_that_decide_themselves_are_left_to_the_training(config: Any) -> None:
    config.change("ResNet50_vd", "HRNet_W18_C").change(CROP, "ResizeImage: {resize_short: 100}").load()


def test_each_scale_of_a_sampler_is_held_against_the_network(config: Any) -> None:
    config.change("ResNet50_vd", "HRNet_W18_C").change("ImageNetDataset", "MultiScaleDataset")
    scaled = "{name: MultiScaleSampler, scales: [160, 200], first_bs: 8, divided_factor: %d}"
    refusal = config.change(SAMPLER, scaled % 8).refusal()
    assert "sampler.scales.1: expected sides that are multiples of 32" in refusal
    config.change(scaled % 8, scaled % 32).load()


def test_each_network_of_several_is_asked(config: Any) -> None:
    config.change(
        "  name: ResNet50_vd\n",
        "  name: DistillationModel\n  models:\n    - Teacher: {name: HRNet_W18_C, class_num: 102}\n"
        "    - Student: {name: ResNet18, class_num: 102}\n",
    )
    config.change(
        "CELoss: {weight: 1.0, epsilon: 0.1}", "DistillationCELoss: {model_name_pairs: [[Student, Teacher]]}"
    )
    config.change("size: 224", "size: 230")
    assert any("which HRNet_W18_C takes, got 230 × 230" in line for line in config.refusals())
