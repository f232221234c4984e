"""Losses between networks, held against loops over images and classes in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import paddle
import pytest
from pydantic import TypeAdapter

from trainer.config.losses import LossList
from trainer.config.problems import ConfigError
from trainer.losses.build import LOSS_BUILDERS, build_loss

B, K = 5, 4
DRAWS = np.random.default_rng(8)
X, Y = (DRAWS.normal(size=(B, K)).astype(np.float32) * 2 for _ in range(2))
FEATURES = {name: DRAWS.normal(size=(B, 3, 4, 4)).astype(np.float32) for name in ("Student", "Teacher")}
LABELS = DRAWS.integers(0, K, (B, 1))
PAIRS = {"model_name_pairs": [["Student", "Teacher"]]}


def values(name: str, *, features: bool = False, labels: Any = LABELS, **spec: Any) -> dict[str, float]:
    """All values of one loss."""
    outputs: dict[str, Any] = {"Student": paddle.to_tensor(X), "Teacher": paddle.to_tensor(Y)}
    if features:
        outputs = {
            model: {"logits": logits, "blocks3": paddle.to_tensor(FEATURES[model])}
            for model, logits in outputs.items()
        }
    (loss,) = TypeAdapter(LossList).validate_python([{name: spec}])
    found = LOSS_BUILDERS[type(loss)](loss)(outputs, paddle.to_tensor(labels))
    return {key: float(value) for key, value in found.items()}


def softmax(row: Any, t: float = 1.0) -> list[float]:
    powers = [math.exp(float(value) / t) for value in row]
    return [power / sum(powers) for power in powers]


def entropy(targets: Any, logits: Any, t: float = 1.0) -> float:
    return -sum(float(one) * math.log(p) for one, p in zip(targets, softmax(logits, t), strict=True))


def divergence(targets: list[float], shares: list[float]) -> float:
    return sum(q * math.log(q / p) for q, p in zip(targets, shares, strict=True))


def rows() -> list[tuple[Any, Any, int]]:
    return [(x, y, int(label)) for x, y, (label,) in zip(X, Y, LABELS, strict=True)]


def onehot(label: int) -> list[float]:
    return [float(index == label) for index in range(K)]


def mean(found: list[float]) -> float:
    return sum(found) / len(found)


def close(expected: dict[str, float]) -> Any:
    return pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("epsilon", [None, 0.2])
def test_cross_entropy_with_labels_is_of_each_network(epsilon):
    e = epsilon or 0.0
    targets = [[(1 - e) * one + e / K for one in onehot(label)] for *_, label in rows()]
    found = values("DistillationGTCELoss", model_names=["Student", "Teacher"], epsilon=epsilon)
    assert found == close(
        {
            "CELoss_Student": mean([entropy(t, x) for t, x in zip(targets, X, strict=True)]),
            "CELoss_Teacher": mean([entropy(t, y) for t, y in zip(targets, Y, strict=True)]),
        }
    )


def test_cross_entropy_of_a_pair_has_the_teachers_probabilities_as_labels():
    expected = mean([entropy(softmax(y), x) for x, y, _ in rows()])
    assert values("DistillationCELoss", **PAIRS) == close({"CELoss_Student_Teacher": expected})


def test_multi_label_loss_is_of_each_network():
    ones = DRAWS.integers(0, 2, (B, K)).astype(np.float32)
    ratios = np.full((B, K), 0.3, np.float32)
    found = values(
        "DistillationMultiLabelLoss", model_names=["Student"], size_sum=True, weight_ratio=True,
        labels=np.stack([ones, ratios], axis=1),
    )  # fmt: skip
    total = 0.0
    for logit, one in zip(X.ravel().tolist(), ones.ravel().tolist(), strict=True):
        p = 1 / (1 + math.exp(-logit))
        total -= math.log(p if one else 1 - p) * math.exp(0.7 if one else 0.3)
    assert found == close({"MultiLabelLoss_Student": total / B})


@pytest.mark.parametrize("sums", [False, True])
@pytest.mark.parametrize("act", ["softmax", "sigmoid"])
def test_mutual_learning_is_the_mean_of_both_divergences(act, sums):
    total = 0.0
    for x, y, _ in rows():
        p, q = (softmax(of) if act == "softmax" else [1 / (1 + math.exp(-v)) for v in of] for of in (x, y))
        total += (divergence(q, p) + divergence(p, q)) / 2
    found = values("DistillationDMLLoss", act=act, sum_across_class_dim=sums, **PAIRS)
    assert found == close({"DMLLoss_Student_Teacher_0": total / B * (K if sums else 1)})


def test_mutual_learning_of_several_classes_weighs_rare_answers():
    ones = DRAWS.integers(0, 2, (B, K)).astype(np.float32)
    labels = np.stack([ones, np.full((B, K), 0.2, np.float32)], axis=1)
    total = 0.0
    for x, y, row in zip(X, Y, ones, strict=True):
        p, q = softmax(x), softmax(y)
        for index in range(K):
            both = q[index] * math.log(q[index] / p[index]) + p[index] * math.log(p[index] / q[index])
            total += both / 2 * math.exp(0.8 if row[index] else 0.2)
    found = values("DistillationDMLLoss", weight_ratio=True, labels=labels, **PAIRS)
    assert found == close({"DMLLoss_Student_Teacher_0": total / B})


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("mode", ["l1", "l2", "smooth_l1"])
def test_distance_is_of_logits_or_features(mode, features):
    one, other = (FEATURES["Student"], FEATURES["Teacher"]) if features else (X, Y)
    gaps = [abs(float(a) - float(b)) for a, b in zip(one.ravel(), other.ravel(), strict=True)]
    cost = {
        "l1": lambda gap: gap, "l2": lambda gap: gap**2,
        "smooth_l1": lambda gap: gap**2 / 2 if gap < 1 else gap - 0.5,
    }[mode]  # fmt: skip
    key = {"key": "blocks3"} if features else {}
    found = values("DistillationDistanceLoss", mode=mode, features=features, **key, **PAIRS)
    assert found == close({f"loss_{mode}_loss_{mode}_0": mean([cost(gap) for gap in gaps])})


def test_divergence_of_softened_probabilities_grows_by_the_squared_temperature():
    expected = 9 * mean([divergence(softmax(y, 3), softmax(x, 3)) for x, y, _ in rows()])
    found = values("DistillationKLDivLoss", temperature=3, features=True, key="logits", **PAIRS)
    assert found == close({"loss_kldiv_Student_Teacher": expected})


@pytest.mark.parametrize("of_teacher", [False, True])
def test_decoupled_distillation_takes_the_label_and_the_rest_apart(of_teacher):
    total = 0.0
    for x, y, given in rows():
        label = int(np.argmax(y)) if of_teacher else given
        p, q = softmax(x, 2), softmax(y, 2)
        first = divergence([q[label], 1 - q[label]], [p[label], 1 - p[label]])
        others = [index for index in range(K) if index != label]
        rest = divergence(softmax(y[others], 2), softmax(x[others], 2))
        total += 4 * (1.5 * first + 0.5 * rest)
    found = values(
        "DistillationDKDLoss", temperature=2, alpha=1.5, beta=0.5, use_target_as_gt=of_teacher, **PAIRS
    )
    assert found == close({"loss_dkd_Student_Teacher": total / B})


def test_weighted_soft_labels_follow_who_errs_more():
    total = 0.0
    for x, y, label in rows():
        ratio = entropy(onehot(label), x) / (entropy(onehot(label), y) + 1e-7)
        total += 4 * (1 - math.exp(-ratio)) * entropy(softmax(y, 2), x, 2)
    assert values("DistillationWSLLoss", **PAIRS) == close({"loss_wsl_Student_Teacher": total / B})


def test_spherical_distillation_normalises_both():
    total = 0.0
    for x, y, label in rows():
        u, v = (3 * (of - of.mean()) / np.sqrt(of.var() + 1e-7) for of in (x.astype(float), y.astype(float)))
        total += 0.7 * 4 * entropy(softmax(v, 2), u, 2) + 0.3 * entropy(onehot(label), u)
    found = values("DistillationSKDLoss", temperature=2, multiplier=3, alpha=0.7, **PAIRS)
    assert found == close({"loss_skd_Student_Teacher": total / B})


def test_a_stronger_teacher_is_followed_by_correlation():
    p, q = (np.array([softmax(row) for row in of]) for of in (X, Y))
    rowwise = mean([np.corrcoef(one, other)[0, 1] for one, other in zip(p, q, strict=True)])
    columns = mean([np.corrcoef(one, other)[0, 1] for one, other in zip(p.T, q.T, strict=True)])
    found = values("DistillationDISTLoss", beta=2.0, gamma=0.5, **PAIRS)
    assert found == close({"loss_dist_Student_Teacher": 2 * (1 - rowwise) + 0.5 * (1 - columns)})


def smooth(gaps: Any) -> float:
    return float(np.mean([gap**2 / 2 if abs(gap) < 1 else abs(gap) - 0.5 for gap in np.ravel(gaps)]))


def test_relations_are_angles_and_distances_between_images():
    found = values(
        "DistillationRKDLoss", target_size=1, student_keepkeys=["blocks3"], teacher_keepkeys=["blocks3"],
        features=True, **PAIRS,
    )  # fmt: skip
    tables = []
    for name in ("Student", "Teacher"):
        points = FEATURES[name].astype(float).mean(axis=(2, 3))
        gaps = np.array([[np.linalg.norm(one - other) for other in points] for one in points])
        angles = np.zeros((B, B, B))
        for at in range(B):
            for one in range(B):
                for other in range(B):
                    a, b = points[one] - points[at], points[other] - points[at]
                    size = np.linalg.norm(a) * np.linalg.norm(b)
                    angles[at, one, other] = a @ b / size if size else 0.0
        tables.append((angles, gaps / gaps.mean()))
    (angles, gaps), (angles_of_teacher, gaps_of_teacher) = tables
    expected = {
        "loss_angle_0_Student_Teacher": smooth(angles - angles_of_teacher),
        "loss_dist_0_Student_Teacher": smooth(gaps - gaps_of_teacher),
    }
    assert found == pytest.approx(expected, rel=1e-4)


def test_of_the_only_loss_the_first_value_is_the_sum():
    losses = TypeAdapter(LossList).validate_python(
        [{"DistillationGTCELoss": {"model_names": ["Student", "Teacher"]}}]
    )
    outputs = {"Student": paddle.to_tensor(X), "Teacher": paddle.to_tensor(Y)}
    found = build_loss(losses)(outputs, paddle.to_tensor(LABELS))
    assert float(found["loss"]) == float(found["CELoss_Student"]) != float(found["CELoss_Teacher"])


PEFD = {
    "base_loss_name": "PEFDLoss",
    "s_key": "blocks3",
    "t_key": "blocks3",
    "student_channel": 3,
    "teacher_channel": 3,
}
MGD = {
    "base_loss_name": "MGDLoss", "s_keys": ["blocks3"], "t_keys": ["blocks3"], "student_channels": 3,
    "teacher_channels": 3,
}  # fmt: skip


def learning(spec: dict[str, Any]) -> tuple[Any, dict[str, float]]:
    (loss,) = TypeAdapter(LossList).validate_python([{"DistillationPairLoss": {**PAIRS, **spec}}])
    part = LOSS_BUILDERS[type(loss)](loss)
    outputs = {
        name: {"logits": paddle.to_tensor(X), "blocks3": paddle.to_tensor(features)}
        for name, features in FEATURES.items()
    }
    found = part(outputs, paddle.to_tensor(LABELS))
    return part.layer, {key: float(value) for key, value in found.items()}


def convolved(images: Any, weight: Any, bias: Any) -> Any:
    """A convolution that keeps the size, in a loop over its window."""
    side = weight.shape[-1] // 2
    padded = np.pad(images, ((0, 0), (0, 0), (side, side), (side, side)))
    size = images.shape[-1]
    found = np.zeros((len(images), len(weight), size, size)) + bias[None, :, None, None]
    for down in range(weight.shape[2]):
        for across in range(weight.shape[3]):
            window = padded[:, :, down : down + size, across : across + size]
            found += np.einsum("bchw,oc->bohw", window, weight[:, :, down, across])
    return found


def test_projectors_are_compared_by_their_mean_direction():
    layer, found = learning({**PEFD, "num_projectors": 2, "name": "loss_pefd"})
    x, y = (FEATURES[name].astype(float) for name in ("Student", "Teacher"))
    state = {key: value.numpy().astype(float) for key, value in layer.state_dict().items()}
    mean_of = sum(
        np.maximum(convolved(x, state[f"projectors.{i}.conv.weight"], state[f"projectors.{i}.conv.bias"]), 0)
        for i in range(2)
    ).reshape(B, -1)
    other = y.reshape(B, -1)
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(mean_of, other, strict=True)]
    assert found == close({"loss_pefd_0_Student_Teacher": 1 - float(np.mean(cosines))})


def test_generation_is_of_what_is_not_masked():
    layer, found = learning({**MGD, "lambda_mgd": 0.0, "alpha_mgd": 2.5})
    state = {key: value.numpy().astype(float) for key, value in layer.state_dict().items()}
    made = FEATURES["Student"].astype(float)
    for name in ("0", "2"):
        made = convolved(made, state[f"generation.{name}.weight"], state[f"generation.{name}.bias"])
        made = np.maximum(made, 0) if name == "0" else made
    assert found == close({"loss_0_Student_Teacher": 2.5 * float(((made - FEATURES["Teacher"]) ** 2).mean())})


def test_a_share_of_channels_is_masked_and_other_channels_are_aligned():
    paddle.seed(1)
    _, some = learning({**MGD, "lambda_mgd": 0.5})
    paddle.seed(1)
    _, none = learning({**MGD, "lambda_mgd": 0.0})
    assert some != none
    spec = {**MGD, "student_channels": 2}
    with pytest.raises(
        ConfigError, match=r"expected features of 2 and 3 channels and one size, got \[3, 4, 4\]"
    ):
        learning(spec)
