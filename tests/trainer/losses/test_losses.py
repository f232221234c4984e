from __future__ import annotations

import numpy as np
import paddle
import pytest

from trainer.config.losses import LOSSES, CELoss, GoogLeNetLoss, SoftTargetCrossEntropy
from trainer.losses.build import LOSS_BUILDERS, build_loss

LOGITS = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, -3.0]], dtype=np.float32)
LABELS = np.array([[0], [2]], dtype=np.int64)


def expected(epsilon: float) -> float:
    log = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
    targets = np.eye(3)[LABELS[:, 0]] * (1 - epsilon) + epsilon / 3
    return float(-(targets * log).sum(axis=1).mean())


def values(*losses: CELoss) -> dict[str, float]:
    found = build_loss(losses)(paddle.to_tensor(LOGITS), paddle.to_tensor(LABELS))
    return {key: float(value) for key, value in found.items()}


def test_what_is_declared_is_what_is_built():
    assert set(LOSS_BUILDERS) == set(LOSSES)


@pytest.mark.parametrize("epsilon", [0.1, 0.5])
def test_smoothed_cross_entropy_is_its_formula(epsilon):
    assert values(CELoss(epsilon=epsilon))["loss"] == pytest.approx(expected(epsilon), rel=1e-6)


@pytest.mark.parametrize("epsilon", [None, 0.0, 1.0, -0.1])
def test_an_epsilon_outside_of_its_range_smoothes_nothing(epsilon):
    assert values(CELoss(epsilon=epsilon))["loss"] == pytest.approx(expected(0.0), rel=1e-6)


def test_of_two_losses_with_one_name_the_latter_counts_with_its_weight():
    found = values(CELoss(weight=7.0), CELoss(weight=3.0, epsilon=0.1))
    assert found == {key: pytest.approx(3 * expected(0.1), rel=1e-6) for key in ("CELoss", "loss")}


def test_the_weight_of_a_single_loss_has_no_effect():
    assert values(CELoss(weight=7.0))["loss"] == pytest.approx(expected(0.0), rel=1e-6)


SOFT = np.array([[0.7, 0.3, 0.0], [0.2, 0.2, 0.6]], dtype=np.float32)


@pytest.mark.parametrize("kind", ["paddleclas", "exact", "smoothed"])
def test_mixed_labels_are_targets_under_a_softmax_as_in_paddleclas_unless_told_otherwise(kind):
    spec = CELoss(epsilon=0.1) if kind == "smoothed" else CELoss(soft_label=kind)
    found = build_loss([spec])(paddle.to_tensor(LOGITS), paddle.to_tensor(SOFT))
    log = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
    targets = {
        "paddleclas": np.exp(SOFT) / np.exp(SOFT).sum(axis=1, keepdims=True),
        "exact": SOFT,
        "smoothed": 0.9 * SOFT + 0.1 / 3,
    }[kind]
    assert float(found["loss"]) == pytest.approx(-(targets * log).sum(axis=1).mean(), rel=1e-6)


def test_soft_targets_are_targets_and_classes_are_made_some():
    log = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
    found = build_loss([SoftTargetCrossEntropy()])
    soft = found(paddle.to_tensor(LOGITS), paddle.to_tensor(SOFT))
    assert float(soft["loss"]) == pytest.approx(-(SOFT * log).sum(axis=1).mean(), rel=1e-6)
    hard = found(paddle.to_tensor(LOGITS), paddle.to_tensor(LABELS))
    assert float(hard["loss"]) == pytest.approx(expected(0.0), rel=1e-6)


def test_googlenets_helpers_count_three_tenths():
    outputs = [paddle.to_tensor(LOGITS * factor) for factor in (1.0, 0.0, -1.0)]
    found = build_loss([GoogLeNetLoss()])(outputs, paddle.to_tensor(LABELS))
    labels = paddle.to_tensor(LABELS)
    parts = [float(build_loss([CELoss()])(output, labels)["loss"]) for output in outputs]
    assert float(found["loss"]) == pytest.approx(parts[0] + 0.3 * parts[1] + 0.3 * parts[2], rel=1e-6)


def test_logits_beside_features_and_a_students_are_what_a_loss_takes():
    logits = paddle.to_tensor(LOGITS)
    outputs = {"Teacher": -logits, "Student": {"blocks3": logits * 5, "logits": logits}}
    found = build_loss([CELoss()])(outputs, paddle.to_tensor(LABELS))
    assert float(found["loss"]) == pytest.approx(expected(0.0), rel=1e-6)
