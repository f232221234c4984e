"""Labels that are doubted before anything is trained: planted ones come first, and noise gives no doubts."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from trainer.insight.label_doubts import MOST_SCORES, find_label_doubts, make_thumb

KINDS = 3


def draw(count: int, *, by: str) -> tuple[np.ndarray, np.ndarray]:
    """Draw pictures that are told apart by the shape of what is on them, or by its colour."""
    draws = np.random.default_rng(7)
    thumbs, labels = [], np.arange(count) % KINDS
    for label in labels.tolist():
        coarse = draws.integers(60, 180, (4, 4, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)
        x, y = (int(value) for value in draws.integers(22, 42, 2))
        shape, hue = (label, int(draws.integers(3))) if by == "shape" else (int(draws.integers(3)), label)
        colour = tuple(255 if place == hue else 20 for place in range(3))
        if shape == 0:
            cv2.circle(picture, (x, y), 16, colour, -1)
        elif shape == 1:
            cv2.rectangle(picture, (x - 14, y - 14), (x + 14, y + 14), colour, -1)
        else:
            cv2.line(picture, (x - 16, y - 16), (x + 16, y + 16), colour, 5)
        thumbs.append(make_thumb(picture))
    return np.stack(thumbs), labels.astype(np.int64)


@pytest.mark.parametrize("by", ["shape", "colour"])
def test_planted_wrong_labels_are_the_first_that_are_doubted(by):
    thumbs, labels = draw(84, by=by)
    wrong = np.random.default_rng(1).choice(len(labels), 4, replace=False)
    planted = labels.copy()
    planted[wrong] = (labels[wrong] + 1) % KINDS
    found = find_label_doubts(thumbs, planted)
    first = {of.row for of in found.suspects[: math.ceil(0.07 * len(labels))]}
    assert len(first & set(wrong.tolist())) >= 3
    right = [of for of in found.suspects if of.row in wrong and of.instead == labels[of.row]]
    assert len(right) >= 3
    assert found.agreement > found.chance + 0.4


def test_what_nothing_can_be_told_of_is_not_doubted():
    draws = np.random.default_rng(3)
    noise = draws.integers(0, 255, (45, 32, 32, 3), dtype=np.uint8)
    found = find_label_doubts(noise, draws.integers(0, 3, 45))
    assert found.suspects == ()
    assert "it is too weak to doubt any" in found.why_not


def test_classes_of_few_images_are_left_out_and_too_many_scores_refused():
    thumbs, labels = draw(30, by="colour")
    few = np.where(np.arange(30) < 4, 9, labels)
    assert not {of.row for of in find_label_doubts(thumbs, few).suspects} & {0, 1, 2, 3}
    assert "fewer than two classes" in find_label_doubts(thumbs, np.arange(30, dtype=np.int64)).why_not
    assert "fewer than two classes" in find_label_doubts(thumbs[:0], labels[:0]).why_not
    assert MOST_SCORES >= 100_000 * 200
