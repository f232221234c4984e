"""Losses in which classes weigh more or less, and those that turn to hard images."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from sklearn.utils.class_weight import compute_class_weight

from trainer.config.losses import CELoss, FocalLoss
from trainer.losses.build import build_loss
from trainer.losses.class_weight import balanced_weights, describe_class_weights, resolve_class_weights

LOGITS = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, -3.0], [1.0, 1.0, 1.5]], dtype=np.float32)
LABELS = np.array([[0], [2], [2]], dtype=np.int64)
MIXED = np.array([[0.7, 0.3, 0.0], [0.2, 0.2, 0.6], [0.0, 0.5, 0.5]], dtype=np.float32)
WEIGHTS = (0.5, 0.25, 4.0)
LOG = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
ONE_HOT = np.eye(3)[LABELS[:, 0]]


def measure(spec: Any, labels: Any = LABELS, logits: Any = LOGITS) -> float:
    return float(build_loss([spec])(paddle.to_tensor(logits), paddle.to_tensor(labels))["loss"])


@pytest.mark.parametrize(
    ("spec", "labels", "targets"),
    [
        ({}, LABELS, ONE_HOT),
        ({"epsilon": 0.1}, LABELS, 0.9 * ONE_HOT + 0.1 / 3),
        ({"epsilon": 0.1}, MIXED, 0.9 * MIXED + 0.1 / 3),
        ({"soft_label": "exact"}, MIXED, MIXED),
        ({}, MIXED, np.exp(MIXED) / np.exp(MIXED).sum(axis=1, keepdims=True)),
    ],
    ids=["classes", "smoothed", "mixed and smoothed", "mixed", "mixed as in PaddleClas"],
)
def test_each_class_s_part_counts_as_its_weight_says(spec: Any, labels: Any, targets: Any) -> None:
    expected = -(targets * LOG * np.array(WEIGHTS)).sum(axis=1).mean()
    assert measure(CELoss(class_weight=WEIGHTS, **spec), labels) == pytest.approx(expected, rel=1e-6)
    assert measure(CELoss(class_weight=(1.0, 1.0, 1.0), **spec), labels) == pytest.approx(
        measure(CELoss(**spec), labels), rel=1e-6
    )


def test_halves_of_a_batch_have_its_loss_as_their_mean() -> None:
    """Two ranks average their gradients: a mean by the batch's weights would give others than one rank."""
    spec = CELoss(class_weight=WEIGHTS)
    labels = np.array([[0], [2], [2], [1]], dtype=np.int64)
    logits = np.concatenate([LOGITS, LOGITS[:1] * 2])
    halves = [measure(spec, labels[part], logits[part]) for part in (slice(0, 2), slice(2, 4))]
    assert measure(spec, labels, logits) == pytest.approx(np.mean(halves), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("labels", [LABELS, MIXED], ids=["classes", "mixed"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_focal_loss_is_its_formula(gamma: float, labels: Any, weights: Any) -> None:
    targets = ONE_HOT if labels is LABELS else MIXED
    factor = np.array(weights or (1, 1, 1)) * (1 - np.exp(LOG)) ** gamma
    expected = -(targets * factor * LOG).sum(axis=1).mean()
    assert measure(FocalLoss(gamma=gamma, class_weight=weights), labels) == pytest.approx(expected, rel=1e-5)


def test_the_focal_loss_without_its_power_is_cross_entropy() -> None:
    assert measure(FocalLoss(gamma=0)) == pytest.approx(measure(CELoss()), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_an_image_that_is_answered_for_certain_has_a_gradient(gamma: float) -> None:
    logits = paddle.to_tensor([[200.0, 0.0], [0.0, 200.0]], stop_gradient=False)
    build_loss([FocalLoss(gamma=gamma)])(logits, paddle.to_tensor([[0], [0]]))["loss"].backward()
    assert np.isfinite(logits.grad.numpy()).all()
    assert logits.grad.numpy()[1].any()


def test_counted_weights_are_scikit_learn_s_and_their_mean_over_the_images_is_1() -> None:
    labels = np.repeat([0, 1, 3], [90, 9, 1])
    counts = np.bincount(labels, minlength=4)
    weights = balanced_weights(counts)
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels)
    assert np.array(weights)[[0, 1, 3]] == pytest.approx(expected, rel=1e-12)
    assert weights[2] == 1.0  # of a class without images
    assert np.array(weights)[labels].mean() == pytest.approx(1.0, rel=1e-12)


def test_numbers_take_the_place_of_auto_and_are_said() -> None:
    counts = np.array([30, 10, 20])
    losses = [CELoss(class_weight="auto"), FocalLoss(class_weight=(1.0, 2.0, 3.0))]
    found = resolve_class_weights(losses, counts)
    assert found[0].class_weight == balanced_weights(counts)  # type: ignore[attr-defined]
    assert found[1] is losses[1]
    assert list(describe_class_weights(losses, counts)) == [
        "CELoss.class_weight: auto: class 0 0.667 (30 images), class 1 2 (10 images), class 2 1 (20 images)"
    ]
    many = np.arange(20)
    assert list(describe_class_weights(losses, many)) == [
        "CELoss.class_weight: auto: from class 19 0.526 (19 images), to class 1 10 (1 images)"
    ]
