from __future__ import annotations

from typing import Any

import pytest

SAMPLER = "{name: DistributedBatchSampler, batch_size: 16, drop_last: False, shuffle: True}"
SCALED = "{name: MultiScaleSampler, scales: [160, 192], first_bs: 8}"


def test_a_multi_scale_config_is_taken(config: Any) -> None:
    train = (
        config.change(SAMPLER, SCALED).change("ImageNetDataset", "MultiScaleDataset").load().config.data.Train
    )
    assert train.sampler.batch_size == 8
    assert train.sampler.divided_factor == 32


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (SAMPLER, SCALED, "expected MultiScaleDataset beside MultiScaleSampler, got ImageNetDataset"),
        ("name: ImageNetDataset", "name: MultiScaleDataset",
         "expected MultiScaleSampler beside MultiScaleDataset, got DistributedBatchSampler"),
        (SAMPLER, "{name: MultiScaleSampler, scales: [16, 64], first_bs: 8}",
         "expected scales of at least divided_factor, 32, got [16]"),
        (SAMPLER, "{name: PKSampler, batch_size: 8}", "got 'PKSampler'; it serves metric learning"),
        ("name: ImageNetDataset", "name: Cifar10", "got 'Cifar10'; write its images out as files"),
        ("name: ImageNetDataset", "name: MultiLabelDataset",
         "expected a metric of several classes an image beside MultiLabelDataset; remove TopkAcc"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(old: str, new: str, message: str, config: Any) -> None:
    assert message in config.change(old, new).refusal()


def test_a_sampler_that_repeats_images_is_not_one_to_evaluate_with(config: Any) -> None:
    dataset = "{name: ImageNetDataset, image_root: x, cls_label_path: x, transform_ops: [{DecodeImage: {}}]}"
    sampler = "{name: ClassBalancedSampler, batch_size: 8, shuffle: False}"
    config.change("DataLoader:\n", f"DataLoader:\n  Eval: {{dataset: {dataset}, sampler: {sampler}}}\n")
    found = config.refusal()
    assert "expected a sampler that gives each image once, got ClassBalancedSampler" in found
    assert "shuffle" not in found


def test_ratios_beside_the_labels_are_refused_where_the_loss_cannot_take_them(config: Any) -> None:
    config.change("name: ImageNetDataset", "name: MultiLabelDataset\n      label_ratio: True")
    config.change("  Train:\n    - TopkAcc: {topk: [1, 5]}\n", "")
    assert "label_ratio: expected False beside CELoss" in config.refusal()


def test_one_stream_of_draws_does_not_go_with_many_scales(config: Any) -> None:
    config.change(SAMPLER, SCALED).change("ImageNetDataset", "MultiScaleDataset")
    config.change("num_workers: 4", "num_workers: 0, rng: paddleclas")
    assert "expected per_sample beside MultiScaleSampler" in config.refusal()


def test_an_evaluation_takes_each_sample_once(config: Any) -> None:
    train = config.text[config.text.index("    dataset:") : config.text.index("Infer:")]
    repeated = train.replace("name: DistributedBatchSampler", "name: RASampler")
    config.change("Infer:", f"  Eval:\n{repeated}Infer:")
    assert "DataLoader.Eval.sampler: expected DistributedBatchSampler" in config.refusal()
