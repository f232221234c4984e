"""Labels that are probably wrong: planted ones come first."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from trainer.insight.label_errors import find_label_errors


@pytest.mark.parametrize("seed", [0, 1])
def test_of_five_percent_planted_errors_most_stand_in_the_first_seven(seed: int):
    pixels, truth = load_digits(return_X_y=True)
    pixels, truth = pixels[::2], truth[::2]
    draws = np.random.default_rng(seed)
    planted = draws.choice(len(truth), len(truth) // 20, replace=False)
    labels = truth.copy()
    labels[planted] = (labels[planted] + draws.integers(1, 10, len(planted))) % 10
    model = LogisticRegression(C=0.01, max_iter=60, tol=1e-2)
    found = find_label_errors(
        labels, cross_val_predict(model, pixels / 16, labels, cv=3, method="predict_proba")
    )
    first = {suspect.row for suspect in found.suspects[: round(0.07 * len(labels))]}
    assert len(first & set(planted.tolist())) >= 0.8 * len(planted)
    assert 0.5 * len(planted) <= found.estimated <= 2 * len(planted)
    rows = {suspect.row: suspect for suspect in found.suspects}
    named = [rows[row].instead == truth[row] for row in planted.tolist() if row in rows]
    assert np.mean(named) > 0.8


def test_a_model_without_doubt_suspects_nothing():
    labels = np.array([0, 1, 2, 0])
    found = find_label_errors(labels, np.eye(4)[labels] * 0.9 + 0.025)
    assert found.suspects == ()
    assert found.estimated == 0


def test_no_more_are_returned_than_were_asked_for():
    labels = np.zeros(10, dtype=np.int64)
    found = find_label_errors(labels, np.tile([0.1, 0.9], (10, 1)), most=3)
    assert len(found.suspects) == 3
