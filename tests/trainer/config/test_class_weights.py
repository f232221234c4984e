"""What `class_weight`, FocalLoss and ClassBalancedSampler go with."""

from __future__ import annotations

from typing import Any

import pytest

SAMPLER = "{name: DistributedBatchSampler, batch_size: 16, drop_last: False, shuffle: True}"
BALANCED = "{name: ClassBalancedSampler, batch_size: 16}"
LOSS = "CELoss: {weight: 1.0, epsilon: 0.1}"
EVAL_LOSS = "  Eval:\n    - CELoss: {weight: 1.0}\n"


@pytest.mark.parametrize(
    ("value", "expected"), [("auto", "auto"), ("null", None), (str([2] * 102), (2.0,) * 102)]
)
def test_a_weight_is_counted_or_a_number_a_class(value: str, expected: object, config: Any) -> None:
    config.change(LOSS, f"CELoss: {{epsilon: 0.1, class_weight: {value}}}")
    found = config.load().config.loss.Train[0]
    assert found.class_weight == expected
    assert found.without_class_weight().class_weight is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("often", "expected auto, or a number of 0 or more for each class and not 0 for all, got 'often'"),
        ("[1, -2]", "expected auto, or a number of 0 or more for each class and not 0 for all, got [1, -2]"),
        ("[0, 0.0]", "and not 0 for all, got [0, 0.0]"),
        ("[]", "and not 0 for all, got []"),
        ("[1, 2, 3]", "expected a number for each class of Arch.class_num, which is 102, got 3"),
    ],
)
def test_other_weights_are_refused_where_they_stand(value: str, message: str, config: Any) -> None:
    line = config.change(LOSS, f"FocalLoss: {{class_weight: {value}}}").refusal()
    assert line.startswith("cfg.yaml:11:")
    assert "Loss.Train.0.FocalLoss.class_weight: " in line
    assert line.endswith(message)


def test_an_evaluation_counts_nothing_and_weighs_only_by_its_own_list(config: Any) -> None:
    config.change(LOSS, "CELoss: {class_weight: auto}").change(EVAL_LOSS, "")
    loaded = config.load().config
    assert [loss.class_weight for loss in loaded.loss.in_evaluation] == [None]
    config.change("Optimizer:", "  Eval:\n    - CELoss: {class_weight: auto}\nOptimizer:")
    assert "Loss.Eval.0.CELoss.class_weight: expected none in Loss.Eval, got auto" in config.refusal()


def test_what_has_not_one_class_an_image_cannot_be_counted(config: Any) -> None:
    config.change(LOSS, "CELoss: {class_weight: auto}").change("ImageNetDataset", "MultiLabelDataset")
    config.change("  Train:\n    - TopkAcc: {topk: [1, 5]}\n", "").change(SAMPLER, BALANCED)
    said = "\n".join(line for line in config.refusals() if "warning: " not in line)
    assert "beside ClassBalancedSampler, got MultiLabelDataset" in said
    assert "got auto beside MultiLabelDataset" in said


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("{name: ClassBalancedSampler, batch_size: 16, shuffle: False}",
         "shuffle: expected True, because ClassBalancedSampler mixes the classes"),
        ("{name: ClassBalancedSampler, batch_size: 0}", "batch_size: expected a number above 0, got 0"),
        ("{name: ClassBalancedSampler, batch_size: 8, num_repeats: 2}", "got 'num_repeats'"),
        ("{name: BalancedSampler, batch_size: 8}", "did you mean 'ClassBalancedSampler'?"),
    ],
)  # fmt: skip
def test_a_sampler_that_cannot_be_is_refused(new: str, message: str, config: Any) -> None:
    assert message in config.change(SAMPLER, new).refusal()


def test_an_evaluation_takes_no_balanced_sampler(config: Any) -> None:
    train = config.text[config.text.index("    dataset:") : config.text.index("Infer:")]
    config.change("Infer:", f"  Eval:\n{train.replace(SAMPLER, BALANCED)}Infer:")
    refusal = config.refusal()
    assert "DataLoader.Eval: expected a sampler that gives each image once" in refusal
    assert "use DistributedBatchSampler" in refusal


def test_correcting_twice_is_said(config: Any) -> None:
    config.change(LOSS, "CELoss: {class_weight: auto}").change(SAMPLER, BALANCED)
    (warning,) = config.warnings()
    assert "expected one of auto and ClassBalancedSampler, got both" in warning
