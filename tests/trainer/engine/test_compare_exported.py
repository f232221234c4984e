from __future__ import annotations

import numpy as np
import pytest

from trainer.engine.compare import TOLERANCE, difference


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype("float32")


def sigmoid(logits):
    return (1 / (1 + np.exp(np.minimum(-logits.astype("float64"), 700)))).astype("float32")


LOGITS = np.random.default_rng(0).normal(size=(64, 10)).astype("float32")


@pytest.mark.parametrize("scale", [0.01, 1, 30, 3000])
@pytest.mark.parametrize("activate", [softmax, sigmoid])
def test_rounding_of_any_size_of_logits_passes(scale, activate):
    logits = LOGITS * np.float32(scale)
    noise = np.random.default_rng(1).uniform(-1, 1, logits.shape).astype("float32")
    other = logits + noise * 2e-6 * np.abs(logits).max()
    shares = difference(logits, activate(logits), activate(other), activation=activate.__name__)
    assert shares.shape == (64,)
    assert shares.max() <= TOLERANCE


@pytest.mark.parametrize("scale", [1, 30])
@pytest.mark.parametrize("activate", [softmax, sigmoid])
def test_another_network_does_not_pass(scale, activate):
    logits = LOGITS * np.float32(scale)
    other = logits.copy()
    other[5, np.abs(logits[5]).argmin()] += 0.05 * np.abs(logits[5]).max()
    shares = difference(logits, activate(logits), activate(other), activation=activate.__name__)
    assert shares.argmax() == 5
    assert shares[5] > TOLERANCE
    assert np.delete(shares, 5).max() <= TOLERANCE


def test_a_tie_that_falls_the_other_way_is_no_difference():
    logits = np.array([[7.0, 7.0 + 1e-6, 0.0]], "float32")
    other = np.array([[7.0 + 1e-6, 7.0, 0.0]], "float32")
    assert softmax(logits).argmax() != softmax(other).argmax()
    assert difference(logits, softmax(logits), softmax(other), activation="softmax") <= TOLERANCE


def test_what_is_no_number_is_as_far_apart_as_can_be():
    theirs = softmax(LOGITS)
    theirs[2, 0] = np.nan
    shares = difference(LOGITS, softmax(LOGITS), theirs, activation="softmax")
    assert np.isinf(shares[2])
    assert np.isfinite(np.delete(shares, 2)).all()
