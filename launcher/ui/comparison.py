"""Two or more runs beside each other: how they stand, their curves, and what differs from the first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from launcher.backends.states import JobState
from launcher.errors import LaunchError, NotFoundError
from launcher.jobs.comparison import compare_jobs, describe_parting
from launcher.jobs.curves import MeasuredCurve, Panel, read_panel, usual_metrics
from launcher.jobs.measured import RowReader
from launcher.jobs.metrics import Row, read_metrics_here
from launcher.jobs.outcome import Outcome, describe_outcome, read_outcome
from launcher.jobs.resolve import ResolvedJob
from launcher.jobs.row_text import describe_best, describe_progress
from launcher.ui.charts import chart_of
from launcher.ui.pages import draw_part
from launcher.ui.run_page import MOST_CHARTS
from launcher.ui.watch import JobWatch

MOST_COMPARED = 12
_DIFFERENCES_S = 3.0
_PARTS = (
    ("config", "configuration"), ("data", "data"), ("versions", "versions"), ("size", "size"),
    ("metrics", "results"),
)  # fmt: skip


def draw_comparison(
    jobs: Sequence[ResolvedJob], metrics: Sequence[str], *, fetched: Path, url: str, is_saved: bool
) -> dict[str, str]:
    """Draw curves and differences. Nobody is asked: it is read what lies on this machine.

    Args:
        jobs: Two or more.
        metrics: Names of values; empty for the usual ones.
        fetched: Folder of what was fetched of runs whose output lies elsewhere.
        url: Of this page, without metrics.
        is_saved: For a file of its own.
    """
    rows = [(job.name, _rows(job, fetched)) for job in jobs]
    known = [of_job for of_job in rows if of_job[1]]
    wanted = list(metrics) or (usual_metrics(known) if known else [])
    charts = [
        chart for name in wanted[:MOST_CHARTS] if (chart := chart_of(read_panel(known, name))) is not None
    ]
    names = {name for _, of_job in known for row in of_job[-200:] for name in row}
    more = [
        (name, f"{url}&metric={quote(name, safe='')}")
        for name in ("loss", "lr", "top1", "top5", "images_per_s", "step_s")
        if name in names and name not in {chart.title for chart in charts}
    ]
    curves = draw_part(
        "curves", charts=charts, more=more, is_saved=is_saved,
        empty="None of these runs has measured anything that lies on this machine.",
    )  # fmt: skip
    runs = [(job.name, *_describe(read_outcome(job.run_folder))) for job in jobs]
    states = draw_part("compared", runs=runs, root=_root_of(url), is_saved=is_saved)
    return {"states": states, "curves": curves, "differences": _draw_all_differences(jobs, fetched)}


class ComparisonView:
    """What a browser is sent of runs that are compared. A `View`.

    What differs is read from whole files, so it is drawn again only where something has changed and a
    twentieth of the time goes into it at most.
    """

    def __init__(
        self, watches: Sequence[JobWatch], metrics: Sequence[str], *, fetched: Path, url: str
    ) -> None:  # fmt: skip
        """Draw nothing yet; see `draw_comparison`."""
        self._watches, self._metrics = watches, list(metrics)
        self._fetched, self._url = fetched, url
        self._seen: object = None
        self._due_s = float("-inf")
        self._differences = ""

    def draw(self) -> dict[str, str]:
        """See `View.draw`."""
        runs = [(watch.job.name, *_describe_watch(watch)) for watch in self._watches]
        return {
            "states": draw_part("compared", runs=runs, root=_root_of(self._url), is_saved=False),
            "curves": self._draw_curves(),
            "differences": self._draw_differences(),
        }

    def new_lines(self) -> None:
        """Return none: it has no log."""

    def _draw_curves(self) -> str:
        known: list[str] = []
        metric: str | None = None
        for watch in self._watches:
            with watch.rows_lock:
                known += watch.measured.names
                metric = metric or watch.measured.metric
        wanted = self._metrics or ["loss", *([metric] if metric else [])]
        charts = [
            chart for name in wanted[:MOST_CHARTS] if (chart := chart_of(self._panel(name))) is not None
        ]
        shown = {chart.title for chart in charts}
        more = [
            (name, f"{self._url}&metric={quote(name, safe='')}")
            for name in dict.fromkeys(known)
            if name not in shown
        ]
        notes = [watch.measured_note for watch in self._watches if watch.measured_note]
        return draw_part(
            "curves", charts=charts, more=more, is_saved=False,
            empty=" ".join(dict.fromkeys(notes)) or "None of these runs has measured anything yet.",
        )  # fmt: skip

    def _panel(self, name: str) -> Panel:
        curves: list[MeasuredCurve] = []
        for watch in self._watches:
            with watch.rows_lock:
                curves += watch.measured.panel(watch.job.name, name).curves
        return Panel(metric=name, curves=tuple(curves))

    def _draw_differences(self) -> str:
        seen = [(_state_of(watch), watch.measured.count) for watch in self._watches]
        now_s = time.monotonic()
        if seen != self._seen and now_s >= self._due_s:
            self._seen = seen
            jobs = [watch.job for watch in self._watches]
            self._differences = _draw_all_differences(jobs, self._fetched)
            took_s = time.monotonic() - now_s
            self._due_s = now_s + max(_DIFFERENCES_S, 20 * took_s)
        return self._differences


def _describe(outcome: Outcome | None) -> tuple[str, str, str]:
    """Return state, progress and best metric; no state of a run that may have gone on since."""
    is_over = outcome is not None and JobState(outcome.state).is_terminal
    state = outcome.state if outcome is not None and is_over else ""
    return state, describe_progress(outcome), describe_best(outcome)


def _describe_watch(watch: JobWatch) -> tuple[str, str, str]:
    if watch.status is None:
        state, *others = _describe(read_outcome(watch.job.run_folder))
        return watch.absent or state, others[0], others[1]
    outcome = describe_outcome(watch.job.run_folder, watch.status, reads_metrics=False)
    with watch.rows_lock:
        score = watch.measured.score
    outcome = replace(outcome, score=score or outcome.score)
    return watch.status.state.value, describe_progress(outcome), describe_best(outcome)


def _root_of(url: str) -> str:
    return url.partition("compare?")[0]


def _state_of(watch: JobWatch) -> str:
    return watch.absent or (watch.status.state.value if watch.status is not None else "")


def _draw_all_differences(jobs: Sequence[ResolvedJob], fetched: Path) -> str:
    first, *others = jobs
    return "".join(_draw_differences(first, other, fetched) for other in others)


def _draw_differences(first: ResolvedJob, second: ResolvedJob, fetched: Path) -> str:
    def read(job: ResolvedJob) -> Sequence[Row]:
        found = _rows(job, fetched)
        if not found:
            raise NotFoundError(where=job.name, expected="rows on this machine", got="none")
        return found

    try:
        found = compare_jobs(first, second, read=read)
    except LaunchError as error:
        return draw_part(
            "differences", first=first.name, second=second.name, groups=(), parting="", unknown=[str(error)]
        )
    groups = [(title, changes) for name, title in _PARTS if (changes := getattr(found, name))]
    return draw_part(
        "differences", first=first.name, second=second.name, groups=groups,
        parting=describe_parting(found.parting), unknown=found.unknown,
    )  # fmt: skip


def _rows(job: ResolvedJob, fetched: Path) -> Sequence[Row]:
    here = read_metrics_here(job.run_folder)
    return here or RowReader(job.run_folder, fetched / job.name).read()[0]
