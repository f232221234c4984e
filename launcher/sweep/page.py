"""The page of a study: parameters against the metric, importance, parallel coordinates, curves, the table
of trials.

One file without scripts, with a policy that lets nothing else in, in the look of the report on a training.
What comes from a config is escaped by the template engine. Numbers become coordinates here, and words
there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from launcher.sweep.driver import Picture
from launcher.sweep.results import (
    best_reached,
    count_epochs,
    describe_gain,
    describe_params,
    describe_submit,
    find_winner,
    format_value,
    interval_of,
    rank,
    short_keys,
    weights_of,
)
from launcher.sweep.space import Dimension, Value
from launcher.sweep.study import PAGE, WINNER, Study
from launcher.sweep.trials import Trial, Trials, TrialState
from trainer.protocol.safe_files import replace_file

WIDTH, HEIGHT = 320, 180
"""Of a chart, in units of its own."""
_AXES_HEIGHT, _AXIS_GAP = 220, 130
_MOST_CURVES, _MOST_ROWS = 200, 1000
_TICKS = 4
_WORDS = {
    TrialState.RUNNING: "running", TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned",
    TrialState.FAILED: "failed",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A trial in a chart.

    Attributes:
        x, y: In the chart's units, y downwards.
        kind: `best`, `complete`, `pruned` or `running`: a class of the page's style.
        text: Said where the pointer rests on it.
    """

    x: float
    y: float
    kind: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A trial as a line.

    Attributes:
        points: `x,y` with blanks between.
    """

    points: str
    kind: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A chart of two axes, with ticks as (place, text)."""

    title: str
    points: tuple[Point, ...]
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """An axis of the parallel coordinates."""

    x: float
    title: str
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """From values to 0 … 1: by number, by logarithm, or by the place in a list."""

    low: float
    high: float
    log: bool = False
    names: tuple[str, ...] = ()

    def share(self, value: Value) -> float:
        """Return how far a value lies from the low end, 0 to 1."""
        if self.names:
            return (self.names.index(format_value(value)) + 0.5) / len(self.names)
        number = float(value)  # type: ignore[arg-type]  # of a range: a number
        low, high = self.low, self.high
        if self.log:
            number, low, high = math.log(max(number, 1e-300)), math.log(low), math.log(high)
        return 0.5 if high <= low else min(1.0, max(0.0, (number - low) / (high - low)))

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Places from 0 to 1, with what stands there."""
        if self.names:
            return tuple(((index + 0.5) / len(self.names), name) for index, name in enumerate(self.names))
        shares = [index / (_TICKS - 1) for index in range(_TICKS)]
        if self.high <= self.low:
            return ((0.5, f"{self.low:.3g}"),)
        if self.log:
            return tuple((share, f"{self.low * (self.high / self.low) ** share:.2g}") for share in shares)
        return tuple((share, f"{self.low + (self.high - self.low) * share:.3g}") for share in shares)


def write_page(study: Study, picture: Picture) -> Path:
    """Write the page into the study's folder, and return it."""
    path = study.folder / PAGE
    replace_file(path, render_page(study, picture, importance=Trials(study).importance()).encode())
    return path


def render_page(study: Study, picture: Picture, *, importance: Mapping[str, float]) -> str:
    """Return the page's text.

    Args:
        study: Which.
        picture: How it stands.
        importance: Share of each key; empty where too few trials tell.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    settings = study.settings
    folder = files("launcher.sweep") / "pages"
    environment = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True,
    )  # fmt: skip
    winner = find_winner(picture.trials, goal=settings.goal)
    keys = [dimension.key for dimension in study.space.dimensions]
    names = short_keys(keys)
    charts = _Charts(study, picture, winner)
    return environment.get_template("study.html.j2").render(
        css=(folder / "page.css").read_text(encoding="utf-8"),
        settings=settings,
        picture=picture,
        winner=winner,
        value=format_value,
        names=names,
        keys=keys,
        metric=settings.metric or "value",
        gain=describe_gain(picture.trials, settings) if winner else "",
        params=describe_params(winner.params) if winner else "",
        submit=describe_submit(settings)[0],
        winner_file=str(study.folder / WINNER) if winner else "",
        weights=str(weights_of(study, winner) or "") if winner else "",
        interval=interval_of(list(winner.values.values())) if winner and winner.values else None,
        counts={state.value: sum(trial.state is state for trial in picture.trials) for state in TrialState},
        epochs=count_epochs(picture.trials),
        all_epochs=len(picture.trials) * settings.epochs,
        importance=sorted(
            ((names.get(key, key), share) for key, share in importance.items()), key=lambda item: -item[1]
        ),
        scatters=charts.scatters(),
        curves=charts.curves(),
        axes=charts.axes(),
        threads=charts.threads(),
        width=WIDTH,
        height=HEIGHT,
        axes_height=_AXES_HEIGHT,
        rows=[
            (trial, best_reached(trial, goal=settings.goal), _WORDS[trial.state])
            for trial in _ordered(picture, settings.goal)
        ],
        hidden=max(0, len(picture.trials) - _MOST_ROWS),
        pages_curves=_MOST_CURVES,
    )


def _ordered(picture: Picture, goal: str) -> list[Trial]:
    best = rank(picture.trials, goal=goal)
    known = {trial.number for trial in best}
    return [*best, *(trial for trial in picture.trials if trial.number not in known)][:_MOST_ROWS]


class _Charts:
    def __init__(self, study: Study, picture: Picture, winner: Trial | None) -> None:
        self._study, self._winner = study, winner
        goal = study.settings.goal
        self._trials = [trial for trial in picture.trials if trial.state is not TrialState.FAILED]
        self._reached = {trial.number: best_reached(trial, goal=goal) for trial in self._trials}
        found = [value for value in self._reached.values() if value is not None]
        self._metric = Scale(low=min(found, default=0.0), high=max(found, default=1.0))
        self._names = short_keys([dimension.key for dimension in study.space.dimensions])
        self._dimensions = [dimension for dimension in study.space.dimensions if len(dimension.ends) > 1]
        self._scales = {dimension.key: _scale_of(dimension) for dimension in self._dimensions}

    def _kind(self, trial: Trial) -> str:
        if self._winner is not None and trial.number == self._winner.number:
            return "best"
        return _WORDS[trial.state]

    def _text(self, trial: Trial) -> str:
        reached = self._reached[trial.number]
        value = "" if reached is None else f": {format_value(reached)}"
        return f"trial {trial.number + 1}{value} ({describe_params(trial.params)})"

    def scatters(self) -> list[Chart]:
        """Return a chart for each key: its values against what trials reached."""
        return [self._scatter(dimension) for dimension in self._dimensions]

    def _scatter(self, dimension: Dimension) -> Chart:
        scale = self._scales[dimension.key]
        points = [
            Point(
                x=WIDTH * scale.share(trial.params[dimension.key]),
                y=HEIGHT * (1 - self._metric.share(value)),
                kind=self._kind(trial),
                text=self._text(trial),
            )
            for trial in self._trials
            if (value := self._reached[trial.number]) is not None
        ]
        return Chart(
            title=self._names[dimension.key],
            points=tuple(sorted(points, key=lambda point: point.kind == "best")),
            lines=(),
            x_ticks=tuple((WIDTH * share, text) for share, text in scale.ticks),
            y_ticks=self._y_ticks(),
        )

    def _y_ticks(self, height: float = HEIGHT) -> tuple[tuple[float, str], ...]:
        return tuple((height * (1 - share), text) for share, text in self._metric.ticks)

    def curves(self) -> Chart | None:
        """Return the curves of the trials: of more than fit the best ones."""
        shown = [
            trial
            for trial in _by_reached(self._trials, self._reached, self._study.settings.goal)
            if trial.curve
        ]
        shown = shown[:_MOST_CURVES]
        if not shown:
            return None
        values = [value for trial in shown for value in trial.curve.values()]
        epochs = max(max(trial.curve) for trial in shown)
        x, y = Scale(low=1, high=max(2, epochs)), Scale(low=min(values), high=max(values))
        lines = [
            Line(
                points=_path(trial.curve, x, y),
                kind=self._kind(trial), text=self._text(trial),
            )
            for trial in reversed(shown)
        ]  # fmt: skip
        ends = [
            Point(
                x=WIDTH * 2 * x.share(max(trial.curve)),
                y=HEIGHT * (1 - y.share(trial.curve[max(trial.curve)])),
                kind=self._kind(trial),
                text=self._text(trial),
            )
            for trial in reversed(shown)
        ]
        steps = sorted({1, *(round(1 + (epochs - 1) * index / 5) for index in range(6))})
        return Chart(
            title=self._study.settings.metric or "value",
            lines=tuple(lines),
            points=tuple(ends),
            x_ticks=tuple((WIDTH * 2 * x.share(epoch), str(epoch)) for epoch in steps),
            y_ticks=tuple((HEIGHT * (1 - share), text) for share, text in y.ticks),
        )

    def axes(self) -> list[Axis]:
        """Return the axes of the parallel coordinates: one a key, and the metric last."""
        found = [
            Axis(
                x=index * _AXIS_GAP,
                title=self._names[dimension.key],
                ticks=tuple(
                    (_AXES_HEIGHT * (1 - share), text) for share, text in self._scales[dimension.key].ticks
                ),
            )
            for index, dimension in enumerate(self._dimensions)
        ]
        metric = self._study.settings.metric or "value"
        return (
            [*found, Axis(x=len(found) * _AXIS_GAP, title=metric, ticks=self._y_ticks(_AXES_HEIGHT))]
            if found
            else []
        )

    def threads(self) -> list[Line]:
        """Return a line a trial through all axes, the best ones on top."""
        found = []
        ordered = _by_reached(self._trials, self._reached, self._study.settings.goal)[:_MOST_CURVES]
        for trial in reversed(ordered):
            reached = self._reached[trial.number]
            if reached is None:
                continue
            shares = [self._scales[d.key].share(trial.params[d.key]) for d in self._dimensions]
            shares.append(self._metric.share(reached))
            points = " ".join(
                f"{index * _AXIS_GAP},{_AXES_HEIGHT * (1 - share):.1f}" for index, share in enumerate(shares)
            )
            found.append(Line(points=points, kind=self._kind(trial), text=self._text(trial)))
        return found


def _path(curve: Mapping[int, float], x: Scale, y: Scale) -> str:
    places = ((2 * WIDTH * x.share(epoch), HEIGHT * (1 - y.share(value))) for epoch, value in curve.items())
    return " ".join(f"{across:.1f},{down:.1f}" for across, down in places)


def _by_reached(trials: Sequence[Trial], reached: Mapping[int, float | None], goal: str) -> list[Trial]:
    sign = -1 if goal == "max" else 1
    known = [trial for trial in trials if reached[trial.number] is not None]
    return sorted(known, key=lambda trial: (sign * (reached[trial.number] or 0.0), trial.number))


def _scale_of(dimension: Dimension) -> Scale:
    """Return the scale of a key: of a choice of numbers its places in the list, as of any other choice."""
    if dimension.kind == "choice":
        return Scale(low=0, high=1, names=tuple(dict.fromkeys(map(format_value, dimension.values))))
    return Scale(low=dimension.low, high=dimension.high, log=dimension.log)
