"""Two or more runs beside each other: curves over one another, and what differs from the first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from launcher.errors import LaunchError, NotFoundError
from launcher.jobs.comparison import compare_jobs, describe_parting
from launcher.jobs.curves import read_panel, usual_metrics
from launcher.jobs.measured import RowReader
from launcher.jobs.metrics import Row, read_metrics_here
from launcher.jobs.resolve import ResolvedJob
from launcher.ui.charts import chart_of
from launcher.ui.pages import draw_part
from launcher.ui.run_page import MOST_CHARTS

MOST_COMPARED = 12
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
    first, *others = jobs
    differences = "".join(_draw_differences(first, other, fetched) for other in others)
    return {"curves": curves, "differences": differences}


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
