"""How a training went, from the rows of its metrics.jsonl: curves over epochs, restarts, where time went.

Rows of steps are passed over, so that a run of a million steps costs no more to draw than one of ten epochs.
Of an epoch that was done twice the last row counts, as everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.protocol.safe_files import UnsafePathError, open_read

WIDTH, HEIGHT = 460, 220
"""Of a chart's inner part, in units of its SVG."""
_TEXT = 14
"""Height of a line of text."""
_STEP = b'{"event": "step"'
_PARTS = {
    "wait_s": "waiting for images", "copy_s": "copying them", "peers_s": "waiting for other ranks",
    "compute_s": "computing", "fetch_s": "waiting for the device", "eval_s": "evaluating",
    "save_s": "saving",
}  # fmt: skip
_NO_CURVE = frozenset({"event", "attempt", "time_s", "epoch", "step", "iter", "bad_images", "largest_class"})

Row = Mapping[str, object]


@dataclass(slots=True)
class History:
    """What is known of a run.

    Attributes:
        trained, evaluated: Rows by epochs completed.
        restarts: Epochs completed when the run was taken up again.
        times: Seconds by part, summed over epochs.
    """

    trained: dict[int, Row] = field(default_factory=dict)
    evaluated: dict[int, Row] = field(default_factory=dict)
    restarts: list[int] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    _attempt: object = None
    _sums: dict[str, float] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Take the next row."""
        epoch, event = row.get("epoch"), row.get("event")
        if not isinstance(epoch, int) or isinstance(epoch, bool):
            return
        if event == "resumed":
            self.restarts.append(epoch)
            self._sums = {}
            for rows in (self.trained, self.evaluated):
                for later in [number for number in rows if number > epoch]:
                    del rows[later]
        elif event == "epoch":
            self.trained[epoch] = row
        elif event == "eval":
            self.evaluated[epoch] = row
        elif event == "times":
            self._add_times(row)

    def _add_times(self, row: Row) -> None:
        steps = _number(row, "steps") or 0.0
        for name in _PARTS:
            value = _number(row, name) or 0.0
            if name in ("eval_s", "save_s"):  # sums of an attempt, not means of an epoch's steps
                before = self._sums.get(name, 0.0)
                self._sums[name] = value
                value -= before if value >= before else 0.0
            else:
                value *= steps
            self.times[name] = self.times.get(name, 0.0) + value


class MetricsReader:
    """Reads what was appended to a metrics.jsonl since the last time."""

    def __init__(self, path: Path) -> None:
        self.history = History()
        self._path, self._at = path, 0

    def read(self) -> History:
        """Take in the rows that are new; one that is half written is taken the next time."""
        try:
            with open_read(self._path) as file:
                file.seek(self._at)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._at += len(line)
                    if not line.startswith(_STEP):
                        self._take(line)
        except (OSError, UnsafePathError):
            pass  # there is none yet, or what stands there is not ours
        return self.history

    def _take(self, line: bytes) -> None:
        try:
            row = json.loads(line)
        except ValueError:
            return
        if isinstance(row, dict):
            self.history.add(row)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A curve.

    Attributes:
        name: What it is.
        kind: Class of its style: `train`, `eval` or `average`.
        points: As SVG takes them.
        marks: Its points one by one, with what they say.
    """

    name: str
    kind: str
    points: str
    marks: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Curves over epochs, in units of an SVG.

    Attributes:
        title: Of what.
        lines: Its curves.
        floors: Height of levels to compare with, height of their names, and these.
        restarts: Places where the run was taken up again.
        x_ticks, y_ticks: Place and text.
    """

    title: str
    lines: tuple[Line, ...]
    floors: tuple[tuple[float, float, str], ...]
    restarts: tuple[float, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def draw_charts(history: History, *, epochs: int, chance: float | None, key: str | None) -> list[Chart]:
    """Draw loss and the first metric.

    Args:
        history: Of the run.
        epochs: That it is to have.
        chance: Metric of an even draw, for `top1`; None where there is none.
        key: First metric; None where there is none.
    """
    charts = [_draw(history, "loss", epochs, [])]
    if key is not None:
        floors = []
        largest = [value for row in history.evaluated.values() if (value := _number(row, "largest_class"))]
        if key == "top1" and largest:
            floors.append((largest[-1], "always the largest class"))
        if key == "top1" and chance is not None:
            floors.append((chance, "chance"))
        charts.append(_draw(history, key, epochs, floors))
    return [chart for chart in charts if chart.lines]


def list_times(history: History) -> list[tuple[str, float, float]]:
    """Return name, seconds and share of each part of the time, in the order of a step."""
    total = sum(history.times.values())
    parts = [(_PARTS[name], seconds) for name, seconds in history.times.items() if seconds > 0]
    return [(name, seconds, seconds / total) for name, seconds in parts] if total else []


def _draw(history: History, key: str, epochs: int, floors: Sequence[tuple[float, str]]) -> Chart:
    found = [
        ("training", "train", _points(history.trained, key)),
        ("validation", "eval", _points(history.evaluated, key)),
        ("validation, averaged weights", "average", _points(history.evaluated, f"ema_{key}")),
    ]
    values = [value for _, _, points in found for _, value in points] + [level for level, _ in floors]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    low, high = (min(0.0, low) if key == "top1" else low), (max(1.0, high) if key == "top1" else high)
    if high == low:
        low, high = low - 0.5, high + 0.5
    last = max([epochs, *history.trained, *history.evaluated])

    def across(epoch: float) -> float:
        return WIDTH * epoch / last

    def up(value: float) -> float:
        return HEIGHT * (1 - (value - low) / (high - low))

    lines = tuple(
        Line(
            name=name, kind=kind, points=" ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points),
            marks=tuple((across(x), up(y), f"epoch {x}: {y:.5g}") for x, y in points),
        )
        for name, kind, points in found
        if points
    )  # fmt: skip
    steps = sorted({round(last * part / 5) for part in range(6)})
    named = [(up(level), f"{name}: {level:.3g}") for level, name in floors]
    levels = [low + (high - low) * part / 4 for part in range(5)]
    return Chart(
        title=key, lines=lines, floors=_place_floors(named),
        restarts=tuple(across(epoch) for epoch in history.restarts),
        x_ticks=tuple((across(step), str(step)) for step in steps),
        y_ticks=tuple((up(level), f"{level:.3g}") for level in levels),
    )  # fmt: skip


def _place_floors(floors: Sequence[tuple[float, str]]) -> tuple[tuple[float, float, str], ...]:
    """Give levels, the highest first, a height for their names: those that would meet go above and below."""
    placed: list[tuple[float, float, str]] = []
    for height, name in floors:
        meets = bool(placed) and height - placed[-1][0] < _TEXT
        placed.append((height, height + _TEXT if meets else height - 4, name))
    return tuple(placed)


def _points(rows: Mapping[int, Row], key: str) -> list[tuple[int, float]]:
    return [(epoch, value) for epoch in sorted(rows) if (value := _number(rows[epoch], key)) is not None]


def _number(row: Row, key: str) -> float | None:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def list_curves(rows: Iterable[Row]) -> list[dict[str, float]]:
    """Return the numbers of rows for programs, with their epochs."""
    found = []
    for row in rows:
        numbers = {
            key: value for key in row if key not in _NO_CURVE and (value := _number(row, key)) is not None
        }
        found.append({"epoch": _number(row, "epoch") or 0.0, **numbers})
    return found
