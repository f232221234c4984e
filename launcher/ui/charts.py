"""Curves over steps as what a template draws: places in units of an SVG, and words. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.jobs.curves import Panel, thin, ticks, title_of

WIDTH, HEIGHT = 460, 220
"""Of a chart's inner part, in units of its SVG."""
_MOST_POINTS = 460
_MOST_MARKS = 60
_COLOURS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A curve.

    Attributes:
        name: What it is.
        colour: Class of its style, `c0` to `c5`.
        points: As SVG takes them.
        marks: Some of its points, with what they say.
        last: Its newest value, as text.
    """

    name: str
    colour: str
    points: str
    marks: tuple[tuple[float, float, str], ...]
    last: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Curves of one value.

    Attributes:
        title: Name of the value.
        lines: Its curves.
        restarts: Places where a run began again from a checkpoint, and at which step.
        x_ticks, y_ticks: Place and text.
    """

    title: str
    lines: tuple[Line, ...]
    restarts: tuple[tuple[float, int], ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def chart_of(panel: Panel) -> Chart | None:
    """Return a panel as a chart; None where it has no point."""
    drawn = [(curve, thin(curve.points, _MOST_POINTS)) for curve in panel.curves]
    points = [point for _, of_curve in drawn for point in of_curve]
    if not points:
        return None
    y_values = ticks([y for _, y in points])
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    low_y, high_y = y_values[0], y_values[-1]

    def place_x(x: float) -> float:
        return round(WIDTH * (x - low_x) / ((high_x - low_x) or 1.0), 1)

    def place_y(y: float) -> float:
        return round(HEIGHT * (1 - (y - low_y) / ((high_y - low_y) or 1.0)), 1)

    lines = []
    for index, (curve, of_curve) in enumerate(drawn):
        places = [(place_x(x), place_y(y), f"step {x:g}: {y:.6g}") for x, y in of_curve]
        is_sparse = len(places) <= _MOST_MARKS
        lines.append(
            Line(
                name=title_of(curve, panel), colour=f"c{index % _COLOURS}",
                points=" ".join(f"{x:g},{y:g}" for x, y, _ in places),
                marks=tuple(places if is_sparse else places[-1:]), last=f"{curve.points[-1][1]:.4g}",
            )
        )  # fmt: skip
    steps = sorted({step for curve in panel.curves for step in curve.restarts})
    return Chart(
        title=panel.metric,
        lines=tuple(lines),
        restarts=tuple((place_x(step), step) for step in steps if low_x <= step <= high_x),
        x_ticks=tuple(
            (place_x(x), f"{x:g}") for x in ticks([low_x, high_x]) if low_x <= x <= high_x and x == round(x)
        ),
        y_ticks=tuple((place_y(y), f"{y:.4g}") for y in y_values),
    )
