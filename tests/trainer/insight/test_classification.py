"""Every number of a report is scikit-learn's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.calibration import calibration_curve

from trainer.insight.classification import (
    area_under_roc,
    average_precision,
    by_harm,
    classify,
    describe_threshold,
    precision_recall,
    share,
)

EXACT = 1e-12


def predictions(seed: int, *, images: int, classes: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    logits = rng.normal(0, 1.5, (images, classes))
    logits[np.arange(images), labels] += 1.5
    if ties:
        logits = np.round(logits)
    odds = np.exp(logits)
    return labels, odds / odds.sum(axis=1, keepdims=True)


CASES = [(1, 200, 3, False), (2, 1000, 10, False), (3, 300, 4, True), (4, 40, 20, False), (5, 7, 2, True)]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[1]} of {case[2]}{' with ties' if case[3] else ''}")
def case(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    seed, images, classes, ties = request.param
    return predictions(seed, images=images, classes=classes, ties=ties)


def test_the_scores_of_all_classes_together(case):
    labels, probabilities = case
    found, answers = classify(labels, probabilities), probabilities.argmax(axis=1)
    assert found.accuracy.value == pytest.approx(metrics.accuracy_score(labels, answers), abs=EXACT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes without images
        balanced = metrics.balanced_accuracy_score(labels, answers)
    assert found.balanced_accuracy == pytest.approx(balanced, abs=EXACT)
    assert found.matthews == pytest.approx(metrics.matthews_corrcoef(labels, answers), abs=EXACT)
    for average, value in (("macro", found.macro_f1), ("weighted", found.weighted_f1)):
        expected = metrics.f1_score(labels, answers, average=average, zero_division=0)
        assert value == pytest.approx(expected, abs=EXACT)
    np.testing.assert_array_equal(
        found.matrix, metrics.confusion_matrix(labels, answers, labels=range(probabilities.shape[1]))
    )


def test_the_scores_of_each_class(case):
    labels, probabilities = case
    answers, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, answers, labels=range(classes), zero_division=np.nan
    )
    for of in classify(labels, probabilities).classes:
        assert of.support == support[of.label]
        for value, expected in (
            (of.precision.value if of.precision else None, precision[of.label]),
            (of.recall.value if of.recall else None, recall[of.label]),
            (of.f1, f1[of.label]),
        ):
            assert (value is None) == bool(np.isnan(expected))
            assert value is None or value == pytest.approx(expected, abs=EXACT)


def test_areas_below_curves(case):
    labels, probabilities = case
    for of in classify(labels, probabilities).classes:
        positive, scores = labels == of.label, probabilities[:, of.label]
        if of.support == 0:
            assert of.average_precision is None
            continue
        expected = metrics.average_precision_score(positive, scores)
        assert of.average_precision == pytest.approx(expected, abs=EXACT)
        if of.support < len(labels):
            assert area_under_roc(positive, scores) == pytest.approx(
                metrics.roc_auc_score(positive, scores), abs=EXACT
            )


def test_precision_over_recall(case):
    labels, probabilities = case
    positive, scores = labels == 0, probabilities[:, 0]
    if positive.any():
        precision, recall, thresholds = precision_recall(positive, scores)
        theirs = metrics.precision_recall_curve(positive, scores)
        np.testing.assert_allclose(precision[::-1], theirs[0][:-1], atol=EXACT)
        np.testing.assert_allclose(recall[::-1], theirs[1][:-1], atol=EXACT)
        np.testing.assert_array_equal(thresholds[::-1], theirs[2])


def test_losses_and_calibration(case):
    labels, probabilities = case
    found, classes = classify(labels, probabilities).calibration, probabilities.shape[1]
    expected = metrics.log_loss(labels, probabilities, labels=range(classes))
    assert found.log_loss == pytest.approx(expected, abs=EXACT)
    ones = np.eye(classes)[labels]
    assert found.brier == pytest.approx(((probabilities - ones) ** 2).sum(axis=1).mean(), abs=EXACT)
    best, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    accuracy, confidence = calibration_curve(right, best, n_bins=len(found.bins))
    filled = [of for of in found.bins if of.count]
    np.testing.assert_allclose([of.accuracy for of in filled], accuracy, atol=EXACT)
    np.testing.assert_allclose([of.confidence for of in filled], confidence, atol=EXACT)
    assert sum(of.count for of in found.bins) == len(labels)


def test_the_temperature_is_where_the_loss_is_least(case):
    labels, probabilities = case
    found = classify(labels, probabilities).calibration

    def loss(temperature: float) -> float:
        powers = probabilities ** (1 / temperature)
        return metrics.log_loss(
            labels, powers / powers.sum(axis=1, keepdims=True), labels=range(probabilities.shape[1])
        )

    assert found.log_loss_after == pytest.approx(loss(found.temperature), abs=1e-9)
    if 0.06 < found.temperature < 19:
        for other in (found.temperature * 0.98, found.temperature * 1.02):
            assert loss(other) > found.log_loss_after


def test_a_model_that_is_too_sure_gets_a_temperature_above_one():
    labels, probabilities = predictions(6, images=2000, classes=5)
    sharp = probabilities**3
    sharp /= sharp.sum(axis=1, keepdims=True)
    before, after = classify(labels, probabilities).calibration, classify(labels, sharp).calibration
    assert after.temperature == pytest.approx(3 * before.temperature, rel=1e-6)


@pytest.mark.parametrize("most", [5])
def test_top_five(most: int):
    labels, probabilities = predictions(7, images=500, classes=12)
    expected = metrics.top_k_accuracy_score(labels, probabilities, k=most, labels=range(12))
    assert classify(labels, probabilities).top5 == pytest.approx(expected, abs=EXACT)
    assert classify(*predictions(7, images=50, classes=5)).top5 is None


def test_thresholds_are_the_lowest_that_keep_their_target():
    labels, probabilities = predictions(8, images=400, classes=4)
    best, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    for found in classify(labels, probabilities).thresholds:
        kept = [at for at in np.unique(best) if (~right[best >= at]).mean() <= found.target]
        assert found.threshold == (min(kept) if kept else None)
        if kept:
            assert found.accepted == pytest.approx((best >= found.threshold).mean(), abs=EXACT)
            assert found.wrong == pytest.approx((~right[best >= found.threshold]).mean(), abs=EXACT)
            assert describe_threshold(found).startswith(f"at {found.threshold:.2f} ")


def test_confusions_and_harm_are_counted_by_hand():
    answers, labels = [0, 1, 1, 1, 2, 0], [0, 0, 0, 1, 2, 2]
    found = classify(np.array(labels), np.eye(3)[answers])
    assert [(of.label, of.taken_for, of.count) for of in found.confusions] == [(0, 1, 2), (2, 0, 1)]
    assert [(of.label, of.harm) for of in by_harm(found.classes)] == [(0, 3), (1, 2), (2, 1)]
    assert (found.largest_class, found.chance) == (0.5, 1 / 3)


def test_an_interval_is_wilsons():
    # Of "10 of 100", as statsmodels and R's prop.test without correction give it.
    assert share(0, 0) is None
    found = share(10, 100)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.0552291, 0.1743657), abs=1e-6)
    all_right = share(5, 5)
    assert all_right is not None
    assert all_right.high == 1.0
    assert 0.5 < all_right.low < 0.6


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(2, 6))
def test_the_order_of_images_changes_nothing(seed: int, images: int, classes: int):
    labels, probabilities = predictions(seed, images=images, classes=classes, ties=seed % 2 == 0)
    order = np.random.default_rng(seed).permutation(images)
    one, other = classify(labels, probabilities), classify(labels[order], probabilities[order])
    assert one.classes == other.classes
    assert one.confusions == other.confusions
    assert one.calibration.error == pytest.approx(other.calibration.error, abs=EXACT)


def test_a_class_that_nobody_has_has_no_area():
    assert average_precision(np.zeros(4, dtype=np.bool_), np.arange(4.0)) is None
    assert area_under_roc(np.ones(4, dtype=np.bool_), np.arange(4.0)) is None
