"""The curve of a range test for a learning rate, as text for a terminal and as an SVG. Pure.

Both show the smoothed loss over the logarithm of the rate, with some rates marked, such as the proposals.
Where a loss grows far above where it began, that end would press all else flat: it is cut at the first loss
and half of the fall.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

_ROWS, _COLUMNS = 12, 60
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 720, 360, 64, 44, 24
_COLOURS = {"valley": "#0a7d38", "steep": "#b35c00", "minimum": "#6a3fb5"}


def draw_text(
    rates: Sequence[float], losses: Sequence[float], marked: Mapping[str, float], *, columns: int = 80
) -> str:
    """Draw the curve in at most 80 columns; below it stand the first letters of the marks at their rates.

    Args:
        rates: Of each step, growing by a constant factor.
        losses: Smoothed, of each step.
        marked: Rates by the name of their mark.
        columns: Of the terminal.
    """
    width = max(20, min(_COLUMNS, columns - 12))
    low, high = _bounds(losses)
    cells = [[" "] * width for _ in range(_ROWS)]
    for rate, loss in zip(rates, losses, strict=True):
        row = round((_ROWS - 1) * (high - min(high, loss)) / (high - low))
        cells[row][_column(rate, rates, width)] = "•"
    lines = []
    for number, row_cells in enumerate(cells):
        value = high - (high - low) * number / (_ROWS - 1)
        label = f"{value:8.3f}" if number in (0, _ROWS // 2, _ROWS - 1) else " " * 8
        lines.append(f"{label} │{''.join(row_cells)}".rstrip())
    marks = [" "] * width
    for name, rate in marked.items():
        place = min(width - 1, max(0, _column(rate, rates, width)))
        marks[place] = name[0] if marks[place] == " " else "*"  # two rules that agree
    if marked:
        lines.append(f"{' ' * 8} │{''.join(marks)}".rstrip())
    lines.append(f"{' ' * 8} └{'─' * width}")
    first, last = f"{rates[0]:.0e}", f"{rates[-1]:.0e}"
    lines.append(f"{' ' * 10}{first}{'learning rate':^{width - len(first) - len(last)}}{last}")
    return "\n".join(lines)


def draw_svg(rates: Sequence[float], losses: Sequence[float], marked: Mapping[str, float]) -> str:
    """Return the curve as a picture of its own: no script, no style sheet, nothing from elsewhere.

    Arguments as of `draw_text`.
    """
    low, high = _bounds(losses)

    def x(rate: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 16) * _place(rate, rates)

    def y(loss: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - min(high, loss)) / (high - low)

    points = " ".join(f"{x(rate):.1f},{y(loss):.1f}" for rate, loss in zip(rates, losses, strict=True))
    floor = _HEIGHT - _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="12">',
        "<title>Loss over the learning rate of a range test</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
    ]
    for decade in range(math.ceil(math.log10(rates[0])), math.floor(math.log10(rates[-1])) + 1):
        at = x(10.0**decade)
        parts.append(f'<line x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{floor}" stroke="#dddddd"/>')
        parts.append(f'<text x="{at:.1f}" y="{floor + 16}" text-anchor="middle">1e{decade}</text>')
    for share in (0.0, 0.5, 1.0):
        value = low + share * (high - low)
        parts.append(f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    parts.append(f'<polyline points="{points}" fill="none" stroke="#1f5fbf" stroke-width="2"/>')
    for number, (name, rate) in enumerate(marked.items()):
        colour, at = _COLOURS.get(name, "#444444"), x(rate)
        parts.append(
            f'<line x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{floor}" stroke="{colour}" '
            'stroke-dasharray="5 4" stroke-width="1.5"/>'
        )
        said = escape(f"{name} {rate:.2g}")
        parts.append(f'<text x="{_LEFT + 8}" y="{_TOP + 14 + 16 * number}" fill="{colour}">{said}</text>')
    middle = (_LEFT + _WIDTH) / 2
    parts.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">learning rate</text>')
    parts.append(f'<text x="8" y="{_TOP - 8}">loss, smoothed</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bounds(losses: Sequence[float]) -> tuple[float, float]:
    low, first = min(losses), losses[0]
    high = min(max(losses), first + max(0.5 * (first - low), 0.1 * abs(first)))
    return low, high if high > low else low + 1.0


def _place(rate: float, rates: Sequence[float]) -> float:
    span = math.log(rates[-1] / rates[0]) or 1.0
    return min(1.0, max(0.0, math.log(rate / rates[0]) / span))


def _column(rate: float, rates: Sequence[float], width: int) -> int:
    return round((width - 1) * _place(rate, rates))
