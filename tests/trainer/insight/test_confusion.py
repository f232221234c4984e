"""The confusion matrix of many classes: those that are mixed up stand beside each other."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from trainer.insight.confusion import draw_overview, group_classes, show_groups


def planted(classes: int, groups: int) -> np.ndarray:
    """Each class is confused with those of the same remainder."""
    labels = np.arange(classes)
    same = labels[:, None] % groups == labels[None, :] % groups
    return (10 * np.eye(classes) + 2 * (same & ~np.eye(classes, dtype=bool))).astype(np.int64)


def test_classes_that_are_confused_are_brought_together():
    found = group_classes(planted(60, 12))
    assert sorted(map(tuple, found)) == [tuple(range(begin, 60, 12)) for begin in range(12)]


def test_the_worst_group_comes_first():
    matrix = planted(60, 12)
    matrix[7, 19] += 50
    assert 7 in group_classes(matrix)[0]
    assert show_groups(matrix)[0].wrong == 5 * 4 * 2 + 50


def test_no_group_is_larger_than_a_person_can_look_at():
    found = group_classes(planted(200, 2))
    assert max(map(len, found)) <= 12
    assert sorted(label for group in found for label in group) == list(range(200))


def test_few_classes_are_one_matrix_in_their_order():
    (group,) = show_groups(planted(5, 2))
    assert group.labels == (0, 1, 2, 3, 4)
    assert [cell.count for cell in group.rows[0]] == [10, 0, 2, 0, 2]
    assert draw_overview(planted(5, 2)) == ""


def test_the_overview_is_a_small_picture():
    address = draw_overview(planted(1500, 300))
    assert len(address) < 300_000
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as picture:
        assert picture.size == (750, 750)
