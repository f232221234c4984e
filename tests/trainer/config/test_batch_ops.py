from __future__ import annotations

from typing import Any

import pytest

from trainer.config.checks import metrics_in_training

NORMALIZE = "- NormalizeImage: {scale: 1.0/255.0, mean: [0.5, 0.4, 0.3], std: [0.2, 0.2, 0.2], order: ''}\n"


def mixed(config: Any, *ops: str) -> Any:
    listed = "".join(f"        - {op}\n" for op in ops)
    return config.change(NORMALIZE, f"{NORMALIZE}      batch_transform_ops:\n{listed}")


def test_the_defaults_of_batch_operations_are_paddleclas_s(config: Any) -> None:
    (op,) = mixed(config, "MixupOperator:").load().config.data.Train.dataset.batch_transform_ops
    assert op.alpha == 1.0


def test_a_sampler_keeps_the_order_of_the_file(config: Any) -> None:
    text = "OpSampler: {CutmixOperator: {alpha: 1.0, prob: 0.5}, MixupOperator: {alpha: 0.8, prob: 0.25}}"
    (op,) = mixed(config, text).load().config.data.Train.dataset.batch_transform_ops
    assert [(choice.alpha, prob) for choice, prob in op.choices()] == [(1.0, 0.5), (0.8, 0.25)]


def test_topk_of_mixed_labels_is_left_out_and_said(config: Any) -> None:
    (line,) = mixed(config, "MixupOperator:").warnings()
    assert "Metric.Train.0.TopkAcc: expected none beside batch_transform_ops" in line
    loaded = config.load().config
    assert list(metrics_in_training(loaded)) == []
    assert loaded.metric.Eval


def test_topk_of_plain_labels_stays(config: Any) -> None:
    assert len(metrics_in_training(config.load().config)) == 1


@pytest.mark.parametrize(
    ("op", "message"),
    [
        ("MixupOperator: {alpha: 0}", "expected a number above 0, got 0"),
        ("MixupOperator: {prob: 0.5}", "expected a parameter that exists here, got 'prob'"),
        ("OpSampler: {MixupOperator: {prob: 0.6}, CutmixOperator: {prob: 0.5}}",
         "expected prob of all operations to add up to at most 1, got 1.1"),
        ("OpSampler: {MixupOperator: {prob: 1.5}}", "expected a number of at most 1, got 1.5"),
        ("OpSampler: {Mixup: {prob: 0.5}}", "expected a parameter that exists here, got 'Mixup'"),
        ("Fmix: {}", "expected one of MixupOperator, CutmixOperator, OpSampler, FmixOperator, "
         "MixupCutmixHybrid, got 'Fmix'"),
        ("FmixOperator: {max_soft: 0.6}", "expected a number of at most 0.5, got 0.6"),
        ("OpSampler: {FmixOperator: {prob: 0.6}, CutmixOperator: {prob: 0.5}}", "at most 1, got 1.1"),
        ("OpSampler: {MixupCutmixHybrid: {}}", "got 'MixupCutmixHybrid'"),
        ("MixupCutmixHybrid: {mixup_alpha: 0}", "expected mixup_alpha or cutmix_alpha above 0"),
        ("MixupCutmixHybrid: {cutmix_minmax: [0.5, 0.2]}", "expected cutmix_minmax: [low, high]"),
        ("MixupCutmixHybrid: {mode: all}", "expected 'batch', 'pair' or 'elem', got 'all'"),
    ],
)  # fmt: skip
def test_nonsense_in_a_batch_operation_is_refused(op: str, message: str, config: Any) -> None:
    assert message in mixed(config, op).refusal()


def test_the_hybrid_s_classes_are_the_network_s(config: Any) -> None:
    line = mixed(config, "MixupCutmixHybrid:").refusals()[-1]
    assert "expected num_classes to be Arch.class_num, which is 102, got 4" in line
    config.change("MixupCutmixHybrid:", "MixupCutmixHybrid: {num_classes: 102}").load()


def test_several_operations_are_refused_because_only_one_gets_class_labels(config: Any) -> None:
    line = mixed(config, "MixupOperator:", "CutmixOperator:").refusal()
    assert "write them into an OpSampler, each with its prob" in line


def test_mixing_in_an_evaluation_is_refused(config: Any) -> None:
    mixed(config, "MixupOperator:")
    train = config.text[config.text.index("    dataset:") : config.text.index("Infer:")]
    config.change("Infer:", f"  Eval:\n{train}Infer:")
    line = config.refusals()[-1]
    assert "DataLoader.Eval.dataset.batch_transform_ops: expected none" in line
