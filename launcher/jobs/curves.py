"""Curves of one or several jobs: a measured value over the steps of each, as what is drawn and as SVG."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from launcher.errors import NotFoundError, UsageError
from launcher.jobs.metrics import Row, choose_metric, is_number, read_metrics, read_metrics_here
from launcher.jobs.resolve import ResolvedJob
from trainer.config.problems import suggest

Part = Literal["train", "eval"]
Along = Literal["step", "epoch"]
PARTS: tuple[Part, ...] = ("train", "eval")
MOST_POINTS = 800
"""Of a curve that is drawn: means of neighbours stand for more."""
_EVENTS = {"step": "train", "eval": "eval"}
_BESIDE = {"event", "attempt", "time_s", "epoch", "iter", "step", "samples"}
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 300, 64, 16, 34, 40


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredCurve:
    """A value over the steps of a job.

    Attributes:
        job: Its name.
        part: `train`: of each step; `eval`: of each evaluation.
        points: (optimizer steps completed, value), each step once and rising; all finite.
        restarts: Steps at which an attempt after the first began.
    """

    job: str
    part: Part
    points: tuple[tuple[int, float], ...]
    restarts: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One value of all jobs that have it.

    Attributes:
        metric: Its name, such as `loss` or `top1`.
        along: What the first number of a point counts.
    """

    metric: str
    curves: tuple[MeasuredCurve, ...]
    along: Along = "step"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """What was measured, a panel a value. A notebook shows it as a picture."""

    panels: tuple[Panel, ...]

    def svg(self) -> str:
        """Write it as one SVG document, without scripts, fonts or anything from elsewhere."""
        return format_svg(self.panels)

    def _repr_svg_(self) -> str:
        return self.svg()


def plot_jobs(jobs: Sequence[ResolvedJob], metrics: Sequence[str] = ()) -> Plot:
    """Read what jobs have measured, a panel a metric.

    Args:
        jobs: Each once; drawn over one another.
        metrics: Names, such as `loss`, `lr`, `images_per_s`, or `train.top1` for one part alone. Empty for
            the loss and the metric that chooses the best checkpoint.

    Raises:
        NotFoundError: A job has no output folder, or has measured nothing yet.
        UsageError: No job has measured a value of that name.
    """
    rows = [(job.name, rows_of(job)) for job in jobs]
    wanted = list(metrics) or usual_metrics(rows)
    panels = [read_panel(rows, name) for name in wanted]
    missing = [name for name, panel in zip(wanted, panels, strict=True) if not panel.curves]
    if missing:
        known = measured_names(rows)
        near = suggest(missing[0], known) if len(missing) == 1 else ""
        raise UsageError(
            where="--metric", expected=f"some of {', '.join(known)[:500]}",
            got=", ".join(map(repr, missing)) + near,
        )  # fmt: skip
    return Plot(panels=tuple(panels))


def rows_of(job: ResolvedJob) -> list[Row]:
    """Return a job's rows, from this machine where they lie here.

    Raises:
        NotFoundError: It has measured nothing yet.
        VolumeError: They cannot be read.
    """
    rows = read_metrics_here(job.run_folder) or read_metrics(job)
    if not rows:
        raise NotFoundError(
            where=job.name, expected="a job that has measured something",
            got="no row in its metrics.jsonl yet", fix=f"`ftlaunch status {job.name}` says how far it is",
        )  # fmt: skip
    return rows


def measured_names(jobs: Sequence[tuple[str, Sequence[Row]]]) -> list[str]:
    """Return what can be drawn, each name as it can be typed; one of both parts also for a part alone."""
    parts: dict[str, set[str]] = {}
    for _, rows in jobs:
        for row in rows:
            part = _EVENTS.get(str(row.get("event")))
            for name, value in row.items() if part is not None else ():
                if is_number(value) and name not in _BESIDE:
                    parts.setdefault(name, set()).add(part or "")
    both = [f"{part}.{name}" for name, found in sorted(parts.items()) if len(found) > 1 for part in PARTS]
    alone = [f"eval.{name}" for name, found in sorted(parts.items()) if found == {"eval"}]
    return [*sorted(name for name, found in parts.items() if found != {"eval"}), *both, *alone]


def read_panel(jobs: Sequence[tuple[str, Sequence[Row]]], name: str) -> Panel:
    """Return the curves of one value, `train.NAME` and `eval.NAME` being one part alone."""
    part, _, metric = name.partition(".")
    if part not in PARTS or not metric:
        part, metric = "", name
    curves = [
        curve
        for job, rows in jobs
        for each in PARTS
        if part in ("", each) and (curve := _curve(job, rows, metric, each)) is not None
    ]
    return Panel(metric=metric, curves=tuple(curves))


def usual_metrics(jobs: Sequence[tuple[str, Sequence[Row]]]) -> list[str]:
    """Return what is drawn where nothing is asked for: the loss, and the metric that chooses the best."""
    chosen = [
        metric
        for _, rows in jobs
        for row in rows
        if row.get("event") == "eval" and (metric := choose_metric(row)) is not None
    ]
    return ["loss", *dict.fromkeys(chosen[:1])]


def _curve(job: str, rows: Sequence[Row], metric: str, part: Part) -> MeasuredCurve | None:
    found: dict[int, float] = {}
    restarts: list[int] = []
    attempt: object = None
    for row in rows:
        step, value = row.get("step"), row.get(metric)
        if _EVENTS.get(str(row.get("event"))) != part or not isinstance(step, int) or not is_number(value):
            continue
        if attempt is not None and row.get("attempt") != attempt:
            restarts.append(step)
            found = {known: number for known, number in found.items() if known < step}
        attempt = row.get("attempt")
        found[step] = float(value)  # type: ignore[arg-type]
    if not found:
        return None
    return MeasuredCurve(job=job, part=part, points=tuple(sorted(found.items())), restarts=tuple(restarts))


def thin(points: Sequence[tuple[int, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Return at most so many points, each the mean of neighbours."""
    if len(points) <= most:
        return [(float(x), y) for x, y in points]
    edges = [len(points) * index // most for index in range(most + 1)]
    return [
        (
            math.fsum(x for x, _ in points[start:end]) / (end - start),
            math.fsum(y for _, y in points[start:end]) / (end - start),
        )
        for start, end in itertools.pairwise(edges)
    ]


def title_of(curve: MeasuredCurve, panel: Panel) -> str:
    """Name a curve among those of its panel."""
    parts = {other.part for other in panel.curves}
    jobs = {other.job for other in panel.curves}
    if len(jobs) == 1:
        return curve.part
    return curve.job if len(parts) == 1 else f"{curve.job} {curve.part}"


def format_svg(panels: Sequence[Panel]) -> str:
    """Write panels below one another as one SVG document."""
    height = _HEIGHT * max(1, len(panels))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for index, panel in enumerate(panels):
        lines.append(f'<g transform="translate(0 {index * _HEIGHT})">')
        lines += _panel(panel)
        lines.append("</g>")
    return "\n".join([*lines, "</svg>"]) + "\n"


def _panel(panel: Panel) -> Iterator[str]:
    drawn = [(curve, thin(curve.points)) for curve in panel.curves]
    points = [point for _, of_curve in drawn for point in of_curve]
    yield f'<text x="{_LEFT}" y="18" font-weight="bold">{_xml(panel.metric)}</text>'
    if not points:
        return
    x_ticks, y_ticks = ticks([x for x, _ in points]), ticks([y for _, y in points])
    across, up = (min(x for x, _ in points), max(x for x, _ in points)), (y_ticks[0], y_ticks[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        share_x = (x - across[0]) / ((across[1] - across[0]) or 1.0)
        share_y = (y - up[0]) / ((up[1] - up[0]) or 1.0)
        return _LEFT + share_x * width, _TOP + (1 - share_y) * height

    for value in y_ticks:
        y = place(across[0], value)[1]
        yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>'
    for value in x_ticks:
        if across[0] <= value <= across[1]:
            x = place(value, up[0])[0]
            yield f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{value:.6g}</text>'
    yield f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end" fill="#555">{panel.along}</text>'
    legend = _LEFT + 8.0 * len(panel.metric) + 24
    for index, (curve, of_curve) in enumerate(drawn):
        colour, title = _COLOURS[index % len(_COLOURS)], title_of(curve, panel)
        for step in curve.restarts:
            x = place(step, up[0])[0]
            yield (
                f'<path d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="{colour}" stroke-dasharray="2 3">'
                f"<title>restart at step {step}</title></path>"
            )
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in of_curve))
        yield f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
        if curve.part == "eval" or len(of_curve) == 1:
            for point in of_curve:
                x, y = place(*point)
                yield (
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}">'
                    f"<title>{panel.along} {point[0]:g}: {point[1]:.6g}</title></circle>"
                )
        if legend > _WIDTH - _RIGHT - 23 - 7.2 * len(title):  # the names of further curves find no room
            continue
        yield f'<path d="M{legend:.0f} 14h18" stroke="{colour}" stroke-width="3"/>'
        yield f'<text x="{legend + 23:.0f}" y="18">{_xml(title)}</text>'
        legend += 23 + 7.2 * len(title) + 18


def ticks(values: Sequence[float]) -> list[float]:
    """Return round numbers around values, four to eight of them, rising."""
    low, high = min(values), max(values)
    if high == low:
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    width = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    first, last = math.floor(low / width), math.ceil(high / width)
    return [index * width for index in range(first, last + 1)]


def _xml(text: str) -> str:
    """Write text of others so that it is text: without control characters, which XML 1.0 does not have."""
    shown = "".join(sign if sign.isprintable() else "�" for sign in text)
    return escape(shown, quote=True)
