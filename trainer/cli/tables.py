"""Tables of an evaluation for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from trainer.protocol.printable import escape_controls
from trainer.results import ClassResult, FolderResult


def format_classes(classes: Sequence[ClassResult]) -> list[str]:
    """Return lines of a table of classes; none without classes."""
    rows = [
        (
            of.name, str(of.images), _percent(of.recall), _range(of.recall_low, of.recall_high),
            _percent(of.precision), _number(of.f1), _number(of.average_precision),
        )
        for of in classes
    ]  # fmt: skip
    return _format(("CLASS", "IMAGES", "RECALL", "95 % OF LISTS", "PRECISION", "F1", "AP"), rows)


def format_folders(folders: Sequence[FolderResult]) -> list[str]:
    """Return lines of a table of folders; none without folders."""
    rows = [(of.folder, str(of.images), _percent(of.accuracy), _range(of.low, of.high)) for of in folders]
    return _format(("FOLDER", "IMAGES", "RIGHT", "95 % OF LISTS"), rows)


def _format(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Set names to the left and numbers to the right."""
    if not rows:
        return []
    cells = [list(header), *([escape_controls(row[0]), *row[1:]] for row in rows)]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(header))]
    return [
        "  ".join(
            (cell + " " * (width - _width(cell))) if not column else " " * (width - _width(cell)) + cell
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]


def _width(text: str) -> int:
    """Count the columns of a text: an East Asian letter takes two, an accent none."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _range(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{100 * low:.0f}–{100 * high:.0f} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
