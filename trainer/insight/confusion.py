"""The confusion matrix of a page: whole up to some classes, above that the groups that are mixed up.

Of a thousand classes nobody reads a matrix cell by cell. Classes that are taken for each other are brought
together: pairs with most confusions first, each joins the two groups that its classes are in, unless that
would make a group larger than a person can look at. Groups come in the order of the wrong answers in them, an
overview of all classes in that order is one picture, and the groups are matrices of their own. Why not a
hierarchy, as statistics have: it takes the cube of the classes, and is cut into such groups anyway.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WHOLE = 50
"""Classes up to which all are one matrix, in the order of their labels."""
_LARGEST, _GROUPS = 12, 24
_OVERVIEW = 1000
"""Pixels of the overview's side, at most."""

Matrix = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """Images of a class that were taken for a class.

    Attributes:
        label, answer: Both classes.
        count: Images.
        share: Of all images of the label.
    """

    label: int
    answer: int
    count: int
    share: float

    @property
    def is_right(self) -> bool:
        """Whether both are the same."""
        return self.label == self.answer

    @property
    def anchor(self) -> str:
        """Name of what shows its images."""
        return f"c{self.label}-{self.answer}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Classes that are shown as one matrix.

    Attributes:
        labels: Of its classes.
        rows: A row a class, a cell a class.
        wrong: Wrong answers inside of it.
    """

    labels: tuple[int, ...]
    rows: tuple[tuple[Cell, ...], ...]
    wrong: int


def group_classes(matrix: Matrix) -> list[list[int]]:
    """Return all classes in groups, those with most wrong answers among each other first.

    Args:
        matrix: int64 [K, K], of images of a class taken for a class.
    """
    mixed = np.triu(matrix + matrix.T, 1)
    rows, columns = np.nonzero(mixed)
    group_of = list(range(len(matrix)))
    members = [[label] for label in range(len(matrix))]
    for place in np.argsort(-mixed[rows, columns], kind="stable"):
        one, other = group_of[rows[place]], group_of[columns[place]]
        if one != other and len(members[one]) + len(members[other]) <= _LARGEST:
            members[one] += members[other]
            for label in members[other]:
                group_of[label] = one
            members[other] = []
    found = [sorted(group) for group in members if group]
    return sorted(found, key=lambda group: (-_wrong(matrix, group), group[0]))


def show_groups(matrix: Matrix) -> list[Group]:
    """Return the matrices to show: one of all classes, or the groups that are mixed up."""
    if len(matrix) <= WHOLE:
        return [_make_group(matrix, list(range(len(matrix))))]
    groups = [group for group in group_classes(matrix) if len(group) > 1]
    return [_make_group(matrix, group) for group in groups[:_GROUPS]]


def _make_group(matrix: Matrix, labels: list[int]) -> Group:
    support = np.maximum(1, matrix.sum(axis=1))
    rows = tuple(
        tuple(
            Cell(
                label=label, answer=answer, count=int(matrix[label, answer]),
                share=float(matrix[label, answer] / support[label]),
            )
            for answer in labels
        )
        for label in labels
    )  # fmt: skip
    return Group(labels=tuple(labels), rows=rows, wrong=_wrong(matrix, labels))


def _wrong(matrix: Matrix, labels: list[int]) -> int:
    inside = matrix[np.ix_(labels, labels)]
    return int(inside.sum() - np.trace(inside))


def draw_overview(matrix: Matrix) -> str:
    """Return the matrix of many classes as a picture, in the order of groups; empty where all are shown."""
    if len(matrix) <= WHOLE:
        return ""
    order = [label for group in group_classes(matrix) for label in group]
    shares = matrix[np.ix_(order, order)] / np.maximum(1, matrix.sum(axis=1))[order][:, None]
    right = np.diag(shares.diagonal())
    wrong = shares - right
    block = -(-len(matrix) // _OVERVIEW)
    right, wrong = _shrink(right, block), _shrink(wrong, block)
    side = len(right)
    pixels = np.zeros((side, side, 4), dtype=np.uint8)  # transparent, so that light and dark pages have it
    pixels[right > 0] = (59, 110, 168, 255)
    pixels[wrong > 0] = (200, 50, 40, 0)
    strength = np.sqrt(np.maximum(wrong, right))
    pixels[..., 3] = np.where(strength > 0, np.clip(60 + 195 * strength, 0, 255), 0).astype(np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels, "RGBA").quantize(64).save(written, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"


def _shrink(values: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """Return the largest value of each block of so many rows and columns."""
    side = -(-len(values) // block)
    padded = np.zeros((side * block, side * block))
    padded[: len(values), : len(values)] = values
    shrunk: NDArray[np.float64] = padded.reshape(side, block, side, block).max(axis=(1, 3))
    return shrunk
