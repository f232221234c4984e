"""Tables for people: a header in the same columns as the rows, and one colour language over all commands."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer.protocol.printable import Role, paint, painted_parts, printable

if TYPE_CHECKING:
    from launcher.backends.states import JobState

_GAP = "  "
_PARTS = re.compile(r"(?<=;) ")
LINE_COLUMNS = 100
"""Of sentences; wider ones are hard to read, and a terminal breaks them anywhere."""
_ROLES: dict[str, Role] = {
    "Succeeded": "good", "Running": "strong", "Failed": "bad", "Lost": "bad", "Cancelled": "warn",
    "Suspended": "warn", "Restarting": "warn", "Pulling": "warn", "Unknown": "warn",
    "Gone": "faint", "Unsent": "faint",
}  # fmt: skip
"""States of jobs and of pods. What only waits its turn has no colour."""


def paint_state(state: JobState | str) -> str:
    """Colour a state: green has done well, red has failed, yellow wants a look, bold is at work."""
    text = state if isinstance(state, str) else state.value
    role = _ROLES.get(text.strip())
    return paint(text, role) if role else text


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = "") -> list[str]:
    """Write rows below a header, each column as wide as its widest cell.

    Args:
        header: Names of the columns, in capitals as kubectl has them. A column called STATE is coloured.
        rows: A cell a column; line breaks and other controls of a cell are escaped.
        right: Names of the columns, with blanks between them, that are set to the right, as numbers are.

    Returns:
        Lines without newlines. No line ends with blanks.
    """
    cells = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(width_of(row[column]) for row in cells) for column in range(len(header))]
    numbers = {name for name in right.split() if name}
    lines = []
    for index, row in enumerate(cells):
        parts = []
        for name, cell, width in zip(header, row, widths, strict=True):
            blanks = " " * (width - width_of(cell))
            shown = paint_state(cell) if index and name == "STATE" else cell
            parts.append(blanks + shown if name in numbers else shown + blanks)
        lines.append(_GAP.join(parts).rstrip())
    return lines


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for East Asian wide signs (UAX #11)."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        for sign in text
    )


def line_columns() -> int:
    """Return how many columns a sentence may take: fewer where a terminal has fewer."""
    if not (sys.stdout.isatty() or sys.stderr.isatty()):
        return LINE_COLUMNS
    return min(LINE_COLUMNS, shutil.get_terminal_size().columns)


def wrap(text: str, *, start: str = "", columns: int | None = None) -> list[str]:
    """Write a sentence over as many lines as it needs, the second and later ones set in by two more blanks.

    Args:
        text: Of one paragraph. A word that is longer than a line stays whole, so that it can be copied.
        start: Begins the first line.
        columns: Of a line; None for `line_columns`.
    """
    blanks = len(start) - len(start.lstrip()) + 2
    return textwrap.wrap(
        text, columns or line_columns(), initial_indent=start, subsequent_indent=" " * blanks,
        break_long_words=False, break_on_hyphens=False,
    ) or [start]  # fmt: skip


def break_advice(text: str, *, start: str, columns: int | None = None) -> list[str]:
    """Write what to do over as many lines as it has parts, where it is too long for one.

    It breaks behind semicolons only, so that each command stays on one line and can be copied.
    """
    lines = [start]
    for part in _PARTS.split(text):
        if lines[-1].strip() != start.strip() and width_of(f"{lines[-1]} {part}") > (
            columns or line_columns()
        ):
            lines.append(" " * len(start))
        lines[-1] += part if lines[-1] in (start, " " * len(start)) else f" {part}"
    return lines


def cut(text: str, *, columns: int) -> str:
    """Return as much of the beginning of a text as so many columns hold; … stands for what is missing."""
    if len(text) <= columns and width_of(text) <= columns:
        return text
    taken, room = [], columns - 1
    for sign in text:
        room -= width_of(sign)
        if room < 0:
            break
        taken.append(sign)
    return f"{''.join(taken)}…"


def shorten(line: str, *, columns: int) -> str:
    """As `cut`, of a line that `paint` has coloured: colours take no columns, and end where it ends."""
    parts = painted_parts(line)
    if sum(width_of(text) for text, _ in parts) <= columns:
        return line
    done, room = "", columns
    for text, role in parts:
        width = width_of(text)
        short = text if width < room else cut(text, columns=room) if width > room else text
        done += paint(short, role) if role else short
        room -= width
        if room <= 0:
            break
    return done
