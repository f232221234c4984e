"""Curves as text: spark lines of one row, and a plot of several rows. Pure.

Blocks and braille dots where the output takes them, letters elsewhere; a row is never wider than it is told.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from trainer.protocol.printable import Role, paint

_BLOCKS, _LETTERS = "▁▂▃▄▅▆▇█", "_.-~=+*#"
_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Of a cell's four rows and two columns (Unicode 16, chapter 21, Braille Patterns)."""
HUES: tuple[Role, ...] = ("first", "second", "third", "fourth", "fifth", "sixth")
_MARKS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A line of a plot.

    Attributes:
        name: For people.
        points: (x, y), x rising; all finite.
    """

    name: str
    points: tuple[tuple[float, float], ...]


def takes_blocks(stream: TextIO | None = None) -> bool:
    """Say whether a stream can write block elements and braille: its encoding has them."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "ascii"
    try:
        (_BLOCKS + chr(_BRAILLE)).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def sparkline(values: Sequence[float], *, columns: int, blocks: bool = True) -> str:
    """Write values as a row of at most `columns` signs, each higher for larger values.

    Args:
        values: Finite; of more than there are columns, means of neighbours are shown.
        columns: At least 1.
        blocks: Use block elements; else ASCII.
    """
    if not values:
        return ""
    count = min(columns, len(values))
    edges = [len(values) * index // count for index in range(count + 1)]
    means = [math.fsum(values[start:end]) / (end - start) for start, end in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    signs = _BLOCKS if blocks else _LETTERS
    if high == low:
        return signs[len(signs) // 2] * count
    return "".join(signs[round((value - low) / (high - low) * (len(signs) - 1))] for value in means)


def plot(curves: Sequence[Curve], *, columns: int, rows: int, blocks: bool, colour: bool) -> list[str]:
    """Draw curves over one another, with the range of both axes.

    Args:
        curves: Those without points are left out of the picture.
        columns: Of the whole, at least 30.
        rows: Of the whole, at least 6; the last two are the axis.
        blocks: Use braille dots where colours tell curves apart, or there is only one; else letters.
        colour: Colours will be shown.

    Returns:
        Lines, each of at most `columns` columns.
    """
    points = [point for curve in curves for point in curve.points]
    if not points:
        return ["nothing to draw yet"]
    low, high = _range([y for _, y in points])
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    labels = [format_number(value) for value in (high, (high + low) / 2, low)]
    margin = max(map(len, labels))
    width, height = columns - margin - 3, rows - 2
    dots = blocks and (colour or len(curves) == 1)
    canvas = _Canvas(width, height, fine=dots)
    for index, curve in enumerate(curves):
        canvas.draw(index, _scale(curve.points, (left, right), (low, high), canvas.size))
    lines = []
    for row, cells in enumerate(canvas.cells()):
        at = {0: labels[0], height // 2: labels[1], height - 1: labels[2]}.get(row, "")
        body = "".join(
            " " if cell is None else paint(cell[1], HUES[cell[0] % len(HUES)]) if colour else cell[1]
            for cell in cells
        )
        lines.append(f"{at:>{margin}} │{body}" if blocks else f"{at:>{margin}} |{body}")
    rule = "└" + "─" * width if blocks else "+" + "-" * width
    first, last = format_number(left), format_number(right)
    lines.append(f"{'':>{margin}} {rule}")
    lines.append(f"{'':>{margin}}  {first}{last:>{max(0, width - len(first))}}")
    return lines


def mark_of(index: int, *, blocks: bool, colour: bool, alone: bool) -> str:
    """Return what stands before a curve's name in a legend, in the form that `plot` draws it."""
    if not blocks or not (colour or alone):
        return _MARKS[index % len(_MARKS)]
    return paint("━━", HUES[index % len(HUES)]) if colour else "━━"


def format_number(value: float) -> str:
    """Write a number of an axis with four digits."""
    return f"{value:.4g}"


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _scale(
    points: Sequence[tuple[float, float]], across: tuple[float, float], up: tuple[float, float],
    size: tuple[int, int],
) -> list[tuple[int, int]]:  # fmt: skip
    """Return points as columns and rows of a canvas, row 0 being the highest."""
    (left, right), (low, high), (width, height) = across, up, size
    span = right - left or 1.0
    return [
        (round((x - left) / span * (width - 1)), round((high - y) / (high - low) * (height - 1)))
        for x, y in points
    ]


class _Canvas:
    """Cells of a terminal: of eight dots each (`fine`), or of one letter."""

    def __init__(self, columns: int, rows: int, *, fine: bool) -> None:
        self._columns, self._rows, self._fine = columns, rows, fine
        self._bits = [[0] * columns for _ in range(rows)]
        self._owner = [[-1] * columns for _ in range(rows)]
        self.size = (2 * columns, 4 * rows) if fine else (columns, rows)

    def draw(self, index: int, points: Sequence[tuple[int, int]]) -> None:
        """Connect points by lines."""
        for x, y in points[:1]:
            self._set(index, x, y)
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            steps = max(abs(x1 - x0), abs(y1 - y0), 1)
            for step in range(1, steps + 1):
                self._set(index, round(x0 + (x1 - x0) * step / steps), round(y0 + (y1 - y0) * step / steps))

    def _set(self, index: int, x: int, y: int) -> None:
        column, row = (x // 2, y // 4) if self._fine else (x, y)
        self._bits[row][column] |= _DOTS[y % 4][x % 2] if self._fine else 1
        self._owner[row][column] = index

    def cells(self) -> list[list[tuple[int, str] | None]]:
        """Return each cell's curve and sign; None where nothing is."""
        return [
            [
                None
                if not bits
                else (owner, chr(_BRAILLE + bits) if self._fine else _MARKS[owner % len(_MARKS)])
                for bits, owner in zip(row, owners, strict=True)
            ]
            for row, owners in zip(self._bits, self._owner, strict=True)
        ]
