"""Losses of several classes an image, held against loops over images and classes in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import paddle
import pytest

from trainer.config.losses import MultiLabelAsymmetricLoss, MultiLabelLoss
from trainer.losses.build import build_loss

B, K = 6, 4
DRAWS = np.random.default_rng(3)
LOGITS = (3 * DRAWS.normal(size=(B, K))).astype(np.float32)
ONES = DRAWS.integers(0, 2, (B, K)).astype(np.float32)
RATIOS = np.broadcast_to(DRAWS.uniform(0.1, 0.9, K).astype(np.float32), (B, K))
BOTH = np.stack([ONES, RATIOS], axis=1)


def value(spec: Any, labels: Any) -> float:
    return float(build_loss([spec])(paddle.to_tensor(LOGITS), paddle.to_tensor(labels))["loss"])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def binary(*, epsilon: float, weighted: bool, size_sum: bool) -> float:
    total = 0.0
    for logits, ones, ratios in zip(LOGITS.tolist(), ONES.tolist(), RATIOS.tolist(), strict=True):
        for logit, one, share in zip(logits, ones, ratios, strict=True):
            target, p = (1 - epsilon) * one + epsilon / K, sigmoid(logit)
            cost = -(target * math.log(p) + (1 - target) * math.log(1 - p))
            rare = math.exp(1 - share) if target > 0.5 else math.exp(share)
            total += cost * (rare if weighted else 1)
    return total / (B if size_sum else B * K)


@pytest.mark.parametrize("size_sum", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("epsilon", [None, 0.2, 0.8, 1.5])
def test_multi_label_loss_is_its_formula(epsilon, weighted, size_sum):
    spec = MultiLabelLoss(epsilon=epsilon, weight_ratio=weighted, size_sum=size_sum)
    smoothing = epsilon if epsilon is not None and epsilon < 1 else 0.0
    expected = binary(epsilon=smoothing, weighted=weighted, size_sum=size_sum)
    assert value(spec, BOTH) == pytest.approx(expected, rel=1e-5)
    if not weighted:
        assert value(spec, ONES) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("clip", [None, 0.05, 0.3])
def test_asymmetric_loss_is_its_formula(clip, reduction):
    total = 0.0
    for logit, one in zip(LOGITS.ravel().tolist(), ONES.ravel().tolist(), strict=True):
        p = sigmoid(logit) if one else min(1.0, 1 - sigmoid(logit) + (clip or 0.0))
        total += -((1 - p) ** (1.5 if one else 3.0)) * math.log(max(p, 1e-8))
    spec = MultiLabelAsymmetricLoss(gamma_pos=1.5, gamma_neg=3.0, clip=clip, reduction=reduction)
    expected = total if reduction == "sum" else total / (B * K)
    assert value(spec, ONES) == value(spec, BOTH) == pytest.approx(expected, rel=1e-4)


def slope(*, constant: bool, x: float = -0.4, h: float = 1e-5) -> float:
    """Of one answer whose label is 0, by difference quotient; `constant` holds the power where x is."""

    def cost(at: float) -> float:
        right = min(1.0, 1 - sigmoid(at) + 0.05)
        focus = 1 - (min(1.0, 1 - sigmoid(x) + 0.05) if constant else right)
        return -(focus**4) * math.log(right)

    return (cost(x + h) - cost(x - h)) / (2 * h)


@pytest.mark.parametrize("constant", [True, False])
def test_the_power_is_a_constant_of_the_gradient_where_told(constant):
    logits = paddle.to_tensor([[-0.4]], stop_gradient=False)
    spec = MultiLabelAsymmetricLoss(disable_focal_loss_grad=constant)
    build_loss([spec])(logits, paddle.to_tensor([[0.0]]))["loss"].backward()
    assert logits.grad.item() == pytest.approx(slope(constant=constant), rel=1e-3)
