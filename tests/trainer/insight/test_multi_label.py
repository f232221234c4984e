"""Images of any number of classes: scikit-learn's numbers, and what a planted fault does to them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from trainer.insight.multi_label import calibrate_flags, classify_labels, find_flag_errors

EXACT = 1e-12


def answered(seed: int = 9, images: int = 300, classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    flags = rng.random((images, classes)) < 0.3
    return flags, np.clip(rng.random((images, classes)) * 0.6 + flags * 0.3, 0, 1)


def test_the_numbers_are_scikit_learns():
    flags, probabilities = answered()
    found, answers = classify_labels(flags, probabilities), probabilities >= 0.5
    assert found.subset_accuracy == pytest.approx(metrics.accuracy_score(flags, answers), abs=EXACT)
    assert found.hamming_loss == pytest.approx(metrics.hamming_loss(flags, answers), abs=EXACT)
    assert found.macro_f1 == pytest.approx(metrics.f1_score(flags, answers, average="macro"), abs=EXACT)
    assert found.micro_f1 == pytest.approx(metrics.f1_score(flags, answers, average="micro"), abs=EXACT)
    expected = metrics.average_precision_score(flags, probabilities, average="macro")
    assert found.mean_average_precision == pytest.approx(expected, abs=EXACT)
    log_loss = metrics.log_loss(flags.ravel(), probabilities.ravel())
    assert found.calibration.log_loss == pytest.approx(log_loss, abs=EXACT)
    brier = metrics.brier_score_loss(flags.ravel(), probabilities.ravel())
    assert found.calibration.brier == pytest.approx(brier, abs=EXACT)


def test_a_class_is_named_from_where_its_f1_is_largest():
    flags, probabilities = answered(seed=3)
    for of in classify_labels(flags, probabilities).class_thresholds:
        truth, scores = flags[:, of.label], probabilities[:, of.label]
        tried = [metrics.f1_score(truth, scores >= threshold) for threshold in np.unique(scores)]
        assert of.f1 == pytest.approx(max(tried), abs=EXACT)
        assert metrics.f1_score(truth, scores >= of.threshold) == pytest.approx(of.f1, abs=EXACT)
        assert metrics.precision_score(truth, scores >= of.threshold) == pytest.approx(
            of.precision, abs=EXACT
        )


def test_a_class_without_images_has_no_threshold():
    flags = np.zeros((4, 2), dtype=np.bool_)
    flags[:, 1] = True
    found = classify_labels(flags, np.full((4, 2), 0.7)).class_thresholds
    assert [of.threshold for of in found] == [None, 0.7]


def test_the_matrix_counts_what_was_missed_where_another_class_was_named():
    flags = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1]], dtype=np.bool_)
    probabilities = np.array([[0.1, 0.9, 0.1], [0.2, 0.8, 0.6], [0.9, 0.9, 0.9], [0.1, 0.1, 0.5]])
    found = classify_labels(flags, probabilities)
    assert found.matrix.tolist() == [[1, 2, 1], [0, 1, 0], [0, 0, 1]]
    assert [(of.label, of.taken_for, of.count) for of in found.confusions] == [(0, 1, 2), (0, 2, 1)]


def test_logits_that_are_twice_too_large_are_to_be_halved():
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 2, (4000, 3))
    flags = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
    found = calibrate_flags(flags, 1 / (1 + np.exp(-2 * logits)))
    assert found.temperature == pytest.approx(2, rel=0.1)
    assert found.log_loss_after < found.log_loss
    assert calibrate_flags(flags, 1 / (1 + np.exp(-logits))).error < found.error


def test_planted_wrong_flags_come_first():
    rng = np.random.default_rng(7)
    flags = rng.random((500, 4)) < 0.4
    probabilities = np.clip(np.where(flags, 0.9, 0.1) + rng.normal(0, 0.05, flags.shape), 0.01, 0.99)
    planted = {(int(row), int(rng.integers(4))) for row in rng.choice(500, 60, replace=False)}
    for row, label in planted:
        flags[row, label] = not flags[row, label]
    found = find_flag_errors(flags, probabilities)
    first = {(of.row, of.label) for of in found.suspects[: len(planted)]}
    assert first == planted
    assert found.estimated == pytest.approx(len(planted), abs=12)
    assert all(bool(flags[of.row, of.label]) == of.is_listed for of in found.suspects)
    assert len(find_flag_errors(flags, probabilities, most=5).suspects) == 5
