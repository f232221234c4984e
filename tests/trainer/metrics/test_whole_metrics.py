"""Metrics of several classes, held against loops that spell their descriptions out."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from trainer.config import metrics as specs
from trainer.engine.collective import Collective
from trainer.engine.pending import PendingSums
from trainer.metrics.build import build_batch_metrics
from trainer.metrics.dataset_level import LIST_METRICS

SAMPLES, CLASSES = 23, 5


def drawn(seed: int) -> tuple[Any, Any]:
    draws = np.random.default_rng(seed)
    logits = draws.normal(size=(SAMPLES, CLASSES)).astype(np.float32)
    labels = (draws.uniform(size=(SAMPLES, CLASSES)) < 0.4).astype(np.float32)
    labels[:, 3] *= seed % 2  # in every other draw a class that no image has
    return logits, labels


def measure(spec: Any, logits: Any, labels: Any) -> dict[str, float]:
    return LIST_METRICS[type(spec)](spec)(logits, labels)


def probability(logit: float) -> float:
    return 1 / (1 + np.exp(-float(logit)))


def counted(logits: Any, labels: Any, says: Any) -> dict[str, list[list[int]]]:
    """Of each class and of each image, the numbers of true and false ones and zeros."""
    table = {what: [[0] * 4 for _ in range(size)] for what, size in (("class", CLASSES), ("image", SAMPLES))}
    for image in range(SAMPLES):
        for kind in range(CLASSES):
            said, there = says(logits[image, kind]), labels[image, kind] == 1
            at = (0 if there else 1) if said else (2 if there else 3)  # tp, fp, fn, tn
            table["class"][kind][at] += 1
            table["image"][image][at] += 1
    return table


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


@pytest.mark.parametrize("seed", range(4))
def test_the_eight_numbers_of_attributes_are_what_they_are_called(seed):
    logits, labels = drawn(seed)
    table = counted(logits, labels, lambda logit: logit > 0.3)
    recalls = [ratio(tp, tp + fn) for tp, _, fn, _ in table["class"]]
    others = [ratio(tn, tn + fp) for _, fp, _, tn in table["class"]]
    recall = np.mean(recalls)
    f1 = []
    for tp, fp, _, _ in table["class"]:
        precision = ratio(tp, tp + fp)
        f1.append(ratio(2 * precision * recall, precision + recall))
    exact = np.mean([ratio(tp, tp + fp) for tp, fp, _, _ in table["image"]])
    found = np.mean([ratio(tp, tp + fn) for tp, _, fn, _ in table["image"]])
    assert measure(specs.ATTRMetric(threshold=0.3), logits, labels) == pytest.approx(
        {
            "ma": np.mean([(one + other) / 2 for one, other in zip(recalls, others, strict=True)]),
            "label_f1": np.mean(f1), "label_pos_recall": recall, "label_neg_recall": np.mean(others),
            "instance_f1": 2 * exact * found / (exact + found),
            "instance_acc": np.mean([ratio(tp, tp + fp + fn) for tp, fp, fn, _ in table["image"]]),
            "instance_prec": exact, "instance_recall": found,
        }
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_hamming_distance_and_accuracy_count_answers(seed):
    logits, labels = drawn(seed)
    table = counted(logits, labels, lambda logit: probability(logit) > 0.5)
    wrong = sum(fp + fn for _, fp, fn, _ in table["class"])
    spotless = sum(fp + fn == 0 for _, fp, fn, _ in table["image"])
    answers = SAMPLES * CLASSES
    expected = [
        (specs.HammingDistance(), wrong / answers),
        (specs.AccuracyScore(), 1 - wrong / answers),
        (specs.AccuracyScore(base="sample"), spotless / SAMPLES),
    ]
    for spec, value in expected:
        assert measure(spec, logits, labels) == pytest.approx({type(spec).__name__: value})
        ratios = np.stack([labels, labels], axis=1)
        for given in (labels, ratios):
            pending = PendingSums()
            pending.keep(build_batch_metrics([spec])(paddle.to_tensor(logits), paddle.to_tensor(given)))
            (found,), _ = pending.fetch(Collective(world_size=1))
            assert found.sums == pytest.approx({type(spec).__name__: value * SAMPLES})


@pytest.mark.parametrize("seed", range(4))
def test_mean_accuracy_is_that_of_the_best_threshold_the_last_of_equals(seed):
    logits, labels = drawn(seed)
    best = (-1.0, 0.0)
    for index in range(7):
        threshold = 0.3 + index * (0.8 - 0.3) / 7
        right = sum(
            (probability(logits[image, kind]) > threshold) == (labels[image, kind] == 1)
            for image in range(SAMPLES)
            for kind in range(CLASSES)
        )
        if right >= best[0]:
            best = (right, threshold)
    spec = specs.MultilabelMeanAccuracy(start_threshold=0.3, num_iterations=7, end_threshold=0.8)
    expected = {"mean_acc": best[0] / (SAMPLES * CLASSES), "mean_acc_threshold": best[1]}
    assert measure(spec, logits, labels) == pytest.approx(expected)


def average_precision(scores: Any, there: Any, kind: str) -> float:
    order = sorted(range(len(scores)), key=lambda image: -scores[image])
    curve, hits = [], 0
    for rank, image in enumerate(order, start=1):
        hits += there[image] == 1
        curve.append((hits / sum(there), hits / rank))
    if kind == "11point":
        return float(np.mean([max(p for r, p in curve if r >= point / 10) for point in range(11)]))
    area, before = 0.0, 0.0
    for recall, precision in curve:
        area += (recall - before) * precision
        before = recall
    return area


@pytest.mark.parametrize("kind", ["integral", "11point"])
@pytest.mark.parametrize("seed", range(4))
def test_mean_average_precision_is_the_area_under_each_class_curve(seed, kind):
    logits, labels = drawn(seed)
    found = [
        average_precision(logits[:, index], labels[:, index], kind)
        for index in range(CLASSES)
        if labels[:, index].any()
    ]
    expected = {"MultiLabelMAP": np.mean(found)}
    assert measure(specs.MultiLabelMAP(map_type=kind), logits, labels) == pytest.approx(expected)


def rate_in_a_loop(logits: Any, labels: Any, max_fpr: float) -> dict[str, float]:
    scores = paddle.nn.functional.softmax(paddle.to_tensor(logits)).numpy()[:, 1]
    ones, zeros = scores[labels[:, 0] == 1], scores[labels[:, 0] == 0]
    best = {"tpr": 0.0, "fpr": 0.0, "threshold": 1.0}
    for index in range(10000):
        threshold = index / 10000
        tpr, fpr = np.mean(ones > threshold), np.mean(zeros > threshold) if len(zeros) else 0.0
        if fpr <= max_fpr and tpr > best["tpr"]:
            best = {"tpr": float(tpr), "fpr": float(fpr), "threshold": threshold}
    return best


@pytest.mark.parametrize("max_fpr", [0.0, 0.1, 0.5, 1.0])
def test_the_true_positive_rate_is_the_best_that_the_false_ones_allow(max_fpr):
    draws = np.random.default_rng(5)
    labels = draws.integers(0, 2, (SAMPLES, 1))
    logits = (draws.normal(size=(SAMPLES, 2)) + np.hstack([1 - labels, labels])).astype(np.float32)
    found = measure(specs.TprAtFpr(max_fpr=max_fpr), logits, labels)
    assert found == pytest.approx(rate_in_a_loop(logits, labels, max_fpr))


@pytest.mark.parametrize("label", [0, 1])
def test_a_list_of_one_class_alone_has_a_rate_too(label):
    logits = np.random.default_rng(6).normal(size=(9, 2)).astype(np.float32)
    labels = np.full((9, 1), label)
    found = measure(specs.TprAtFpr(), logits, labels)
    assert found["tpr"] == label
    if label:
        assert found == pytest.approx(rate_in_a_loop(logits, labels, 0.001))
